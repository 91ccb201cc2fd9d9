-- Every subscription: the worker that applies, how many others there are, and what failed.
-- Privileges: none. Cost: some 0.3 ms.
select
    s.oid,
    s.subname,
    s.subdbid,
    s.subenabled,
    w.pid,
    w.sync_workers,
    null,
    pg_catalog.pg_wal_lsn_diff(w.received_lsn, '0/0'),
    pg_catalog.pg_wal_lsn_diff(w.latest_end_lsn, '0/0'),
    w.latest_end_time,
    w.last_msg_send_time,
    w.last_msg_receipt_time,
    d.apply_error_count,
    d.sync_error_count,
    null,
    null,
    null,
    null,
    null,
    null,
    null,
    d.stats_reset
from pg_catalog.pg_subscription s
left join (
    -- There is one worker at most that has no table and no leader: the one that applies.
    select
        subid,
        pg_catalog.max(pid) filter (where relid is null) as pid,
        pg_catalog.max(received_lsn) filter (where relid is null) as received_lsn,
        pg_catalog.max(latest_end_lsn) filter (where relid is null) as latest_end_lsn,
        pg_catalog.max(latest_end_time) filter (where relid is null) as latest_end_time,
        pg_catalog.max(last_msg_send_time) filter (where relid is null) as last_msg_send_time,
        pg_catalog.max(last_msg_receipt_time) filter (where relid is null) as last_msg_receipt_time,
        pg_catalog.count(relid) as sync_workers
    from pg_catalog.pg_stat_subscription
    group by subid
) as w on w.subid = s.oid
left join pg_catalog.pg_stat_subscription_stats d on d.subid = s.oid;
