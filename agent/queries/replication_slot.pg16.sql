-- Every replication slot, what it holds back, and what was decoded for it.
-- Privileges: none. Cost: some 0.2 ms.
select
    slot_name,
    s.slot_type,
    s.plugin,
    s.datoid,
    s.temporary,
    s.active,
    s.active_pid,
    pg_catalog.age(s.xmin),
    pg_catalog.age(s.catalog_xmin),
    pg_catalog.pg_wal_lsn_diff(s.restart_lsn, '0/0'),
    pg_catalog.pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0'),
    pg_catalog.pg_wal_lsn_diff(here.lsn, s.restart_lsn),
    pg_catalog.pg_wal_lsn_diff(here.lsn, s.confirmed_flush_lsn),
    s.wal_status,
    s.safe_wal_size,
    s.two_phase,
    s.conflicting,
    null,
    null,
    null,
    null,
    d.spill_txns,
    d.spill_count,
    d.spill_bytes,
    d.stream_txns,
    d.stream_count,
    d.stream_bytes,
    d.total_txns,
    d.total_bytes,
    d.stats_reset
from pg_catalog.pg_replication_slots s
left join pg_catalog.pg_stat_replication_slots d using (slot_name)
cross join lateral (
    -- After the slot was looked at (hence the condition), so that it cannot be ahead.
    select case
        when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
        else pg_catalog.pg_current_wal_lsn()
    end as lsn
    where slot_name is not null
) as here;
