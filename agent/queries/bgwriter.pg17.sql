-- What the background writer wrote; what backends wrote is in pg_stat_io.
-- Privileges: none. Cost: negligible.
select buffers_clean, maxwritten_clean, buffers_alloc, null, null, stats_reset
from pg_catalog.pg_stat_bgwriter;
