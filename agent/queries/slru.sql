-- The small caches of transaction status, subtransactions, multixacts and the like.
-- Privileges: none. Cost: negligible.
select
    name, blks_zeroed, blks_hit, blks_read, blks_written, blks_exists, flushes, truncates, stats_reset
from pg_catalog.pg_stat_slru;
