-- Every WAL sender and how far its receiver lags behind.
-- Privileges: pg_read_all_stats (in pg_monitor); without it all but pid of other roles' is null. Cost: some 0.3 ms.
select
    r.pid,
    r.usename,
    pg_catalog.left(r.application_name, 64),
    pg_catalog.host(r.client_addr),
    r.state,
    r.sync_state,
    r.sync_priority,
    pg_catalog.pg_wal_lsn_diff(here.lsn, '0/0'),
    pg_catalog.pg_wal_lsn_diff(here.lsn, r.sent_lsn),
    pg_catalog.pg_wal_lsn_diff(here.lsn, r.write_lsn),
    pg_catalog.pg_wal_lsn_diff(here.lsn, r.flush_lsn),
    pg_catalog.pg_wal_lsn_diff(here.lsn, r.replay_lsn),
    (extract(epoch from r.write_lag) * 1000000)::bigint,
    (extract(epoch from r.flush_lag) * 1000000)::bigint,
    (extract(epoch from r.replay_lag) * 1000000)::bigint,
    pg_catalog.age(r.backend_xmin),
    r.backend_start,
    r.reply_time
from pg_catalog.pg_stat_replication r
cross join lateral (
    -- After the sender was looked at (hence the condition), so that it cannot be ahead.
    select case
        when pg_catalog.pg_is_in_recovery()
            then coalesce(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
        else pg_catalog.pg_current_wal_lsn()
    end as lsn
    where r.pid is not null
) as here;
