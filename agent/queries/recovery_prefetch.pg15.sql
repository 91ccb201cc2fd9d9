-- Blocks prefetched during recovery. A primary keeps what its last recovery counted, and says nothing here.
-- Privileges: none. Cost: negligible.
select
    prefetch,
    hit,
    skip_init,
    skip_new,
    skip_fpw,
    skip_rep,
    wal_distance,
    block_distance,
    io_depth,
    stats_reset
from pg_catalog.pg_stat_recovery_prefetch
where pg_catalog.pg_is_in_recovery();
