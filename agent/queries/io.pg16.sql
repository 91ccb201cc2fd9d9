-- Reads and writes by kind of process, object and context; each operation is of op_bytes. Times in whole microseconds.
-- Privileges: none. Cost: some 0.3 ms for 30 rows.
select
    backend_type,
    object,
    context,
    reads,
    reads * op_bytes,
    (read_time * 1000)::bigint,
    writes,
    writes * op_bytes,
    (write_time * 1000)::bigint,
    writebacks,
    (writeback_time * 1000)::bigint,
    extends,
    extends * op_bytes,
    (extend_time * 1000)::bigint,
    hits,
    evictions,
    reuses,
    fsyncs,
    (fsync_time * 1000)::bigint,
    stats_reset
from pg_catalog.pg_stat_io;
