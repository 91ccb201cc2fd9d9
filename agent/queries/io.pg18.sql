-- Reads and writes by kind of process, object and context. Times in whole microseconds.
-- Privileges: none. Cost: some 0.3 ms for 80 rows.
select
    backend_type,
    object,
    context,
    reads,
    read_bytes::bigint,
    (read_time * 1000)::bigint,
    writes,
    write_bytes::bigint,
    (write_time * 1000)::bigint,
    writebacks,
    (writeback_time * 1000)::bigint,
    extends,
    extend_bytes::bigint,
    (extend_time * 1000)::bigint,
    hits,
    evictions,
    reuses,
    fsyncs,
    (fsync_time * 1000)::bigint,
    stats_reset
from pg_catalog.pg_stat_io;
