-- WAL that was generated and written; times in whole microseconds.
-- Privileges: none. Cost: negligible.
select
    wal_records,
    wal_fpi,
    wal_bytes::bigint,
    wal_buffers_full,
    wal_write,
    wal_sync,
    (wal_write_time * 1000)::bigint,
    (wal_sync_time * 1000)::bigint,
    stats_reset
from pg_catalog.pg_stat_wal;
