-- What the background writer wrote, and what backends had to.
-- Privileges: none. Cost: negligible.
select buffers_clean, maxwritten_clean, buffers_alloc, buffers_backend, buffers_backend_fsync, stats_reset
from pg_catalog.pg_stat_bgwriter;
