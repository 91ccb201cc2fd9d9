-- Checkpoints; on a standby the same columns count restartpoints. Times in whole microseconds.
-- Privileges: none. Cost: negligible.
select
    checkpoints_timed,
    checkpoints_req,
    null,
    null,
    null,
    null,
    (checkpoint_write_time * 1000)::bigint,
    (checkpoint_sync_time * 1000)::bigint,
    buffers_checkpoint,
    null,
    stats_reset
from pg_catalog.pg_stat_bgwriter;
