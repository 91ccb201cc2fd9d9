-- WAL that was generated; how it was written is in pg_stat_io.
-- Privileges: none. Cost: negligible.
select wal_records, wal_fpi, wal_bytes::bigint, wal_buffers_full, null, null, null, null, stats_reset
from pg_catalog.pg_stat_wal;
