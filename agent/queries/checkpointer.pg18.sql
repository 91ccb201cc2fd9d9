-- Checkpoints and restartpoints; times in whole microseconds.
-- Privileges: none. Cost: negligible.
select
    num_timed,
    num_requested,
    num_done,
    restartpoints_timed,
    restartpoints_req,
    restartpoints_done,
    (write_time * 1000)::bigint,
    (sync_time * 1000)::bigint,
    buffers_written,
    slru_written,
    stats_reset
from pg_catalog.pg_stat_checkpointer;
