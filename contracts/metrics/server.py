"""What a server's own parts did since their statistics were reset: writers, WAL, archiver, caches, recovery.

Each view can be reset alone, which the cluster's epoch need not show: `stats_reset_at` then tells.
"""

from contracts.metrics.model import Column, Metric, Scope, Type, counter, gauge, instant, label

_STATS_RESET: Column = instant("stats_reset_at", "When these statistics were last reset.")

DATABASE_CONFLICTS = Metric(
    name="database_conflicts",
    scope=Scope.CLUSTER,
    help="Queries that a standby cancelled since they conflicted with recovery (pg_stat_database_conflicts).",
    key=("datid",),
    columns=(
        label("datid", "Oid of the database.", type=Type.OID),
        counter("confl_tablespace", "For a tablespace that was dropped."),
        counter("confl_lock", "For a lock that waited too long."),
        counter("confl_snapshot", "For a snapshot that was too old."),
        counter("confl_bufferpin", "For a pinned buffer."),
        counter("confl_deadlock", "For a deadlock."),
        counter("confl_active_logicalslot", "Uses of logical slots (16 and newer)."),
        instant("stats_reset_at", "When the statistics of this database were last reset."),
    ),
    every_seconds=60,
    changes=True,
    resets=("stats_reset_at",),
)

BGWRITER = Metric(
    name="bgwriter",
    scope=Scope.CLUSTER,
    help="What the background writer wrote, and what backends had to (pg_stat_bgwriter).",
    key=(),
    columns=(
        counter("buffers_clean", "Buffers that the background writer wrote.", unit="buffers"),
        counter("maxwritten_clean", "Rounds that it ended early, at bgwriter_lru_maxpages."),
        counter("buffers_alloc", "Buffers allocated.", unit="buffers"),
        counter(
            "buffers_backend",
            "Buffers that backends wrote themselves, extensions of relations included (until 16; then in io).",
            unit="buffers",
        ),
        counter("buffers_backend_fsync", "Calls of fsync that backends made themselves (until 16; then in io)."),
        _STATS_RESET,
    ),
    every_seconds=60,
    resets=("stats_reset_at",),
)

CHECKPOINTER = Metric(
    name="checkpointer",
    scope=Scope.CLUSTER,
    help="Checkpoints and restartpoints (pg_stat_checkpointer; pg_stat_bgwriter until 16).",
    key=(),
    columns=(
        counter("num_timed", "Checkpoints due by checkpoint_timeout, those skipped for want of work included."),
        counter("num_requested", "Checkpoints requested, by command, by max_wal_size or otherwise."),
        counter("num_done", "Checkpoints that were performed (18 and newer)."),
        counter(
            "restartpoints_timed", "Of a standby: restartpoints due by time (17 and newer; until 16 in num_timed)."
        ),
        counter(
            "restartpoints_req", "Of a standby: restartpoints requested (17 and newer; until 16 in num_requested)."
        ),
        counter("restartpoints_done", "Of a standby: restartpoints that were performed (17 and newer)."),
        counter("write_time_us", "Writing files."),
        counter("sync_time_us", "Synchronizing files."),
        counter("buffers_written", "Buffers written.", unit="buffers"),
        counter("slru_written", "SLRU buffers written (18 and newer).", unit="buffers"),
        _STATS_RESET,
    ),
    every_seconds=60,
    resets=("stats_reset_at",),
)

WAL = Metric(
    name="wal",
    scope=Scope.CLUSTER,
    help="WAL that was generated (pg_stat_wal); from 18 its writes and their times are in io.",
    key=(),
    columns=(
        counter("wal_records", "Records generated."),
        counter("wal_fpi", "Full page images generated."),
        counter("wal_bytes", "Generated."),
        counter("wal_buffers_full", "Writes forced since the WAL buffers were full."),
        counter("wal_write", "Writes of WAL buffers to disk (until 17; then in io)."),
        counter("wal_sync", "Synchronizations of WAL files (until 17; then in io)."),
        counter("wal_write_time_us", "Writing, while track_wal_io_timing is on (until 17; then in io)."),
        counter("wal_sync_time_us", "Synchronizing, while track_wal_io_timing is on (until 17; then in io)."),
        _STATS_RESET,
    ),
    every_seconds=60,
    resets=("stats_reset_at",),
)

ARCHIVER = Metric(
    name="archiver",
    scope=Scope.CLUSTER,
    help="WAL files that were archived, and attempts that failed (pg_stat_archiver).",
    key=(),
    columns=(
        counter("archived_count", "Files archived."),
        label("last_archived_wal", "The file archived last."),
        instant("last_archived_at", "When that was."),
        counter("failed_count", "Attempts that failed."),
        label("last_failed_wal", "The file of the last attempt that failed."),
        instant("last_failed_at", "When that was."),
        _STATS_RESET,
    ),
    every_seconds=60,
    resets=("stats_reset_at",),
)

IO = Metric(
    name="io",
    scope=Scope.CLUSTER,
    help="Reads and writes by kind of process, object and context (pg_stat_io, 16 and newer); null is what cannot be.",
    key=("backend_type", "object", "context"),
    columns=(
        label("backend_type", "Kind of process."),
        label("object", "What is read and written: `relation`, `temp relation`, from 18 `wal`."),
        label("context", "`normal`, `vacuum`, `bulkread`, `bulkwrite`, from 18 `init`."),
        counter("reads", "Reads."),
        counter("read_bytes", "Read."),
        counter("read_time_us", "Reading or waiting for it; 0 without track_io_timing, of WAL track_wal_io_timing."),
        counter("writes", "Writes."),
        counter("write_bytes", "Written."),
        counter("write_time_us", "Writing, timed as reads are."),
        counter("writebacks", "Blocks that the kernel was asked to write out.", unit="blocks"),
        counter("writeback_time_us", "Asking for it, timed as reads are."),
        counter("extends", "Extensions of relations."),
        counter("extend_bytes", "Relations were extended by this much."),
        counter("extend_time_us", "Extending, timed as reads are."),
        counter("hits", "Blocks found in a shared or local buffer.", unit="blocks"),
        counter("evictions", "Blocks written out or dropped to make a buffer free.", unit="blocks"),
        counter("reuses", "Buffers of a ring used again."),
        counter("fsyncs", "Calls of fsync; of permanent relations they are the checkpointer's."),
        counter("fsync_time_us", "In these calls, timed as reads are."),
        _STATS_RESET,
    ),
    every_seconds=60,
    changes=True,
    resets=("stats_reset_at",),
)

SLRU = Metric(
    name="slru",
    scope=Scope.CLUSTER,
    help="The small caches of transaction status, subtransactions, multixacts and the like (pg_stat_slru).",
    key=("name",),
    columns=(
        label("name", "Name of the cache, as this version of PostgreSQL has it."),
        counter("blks_zeroed", "Blocks zeroed to be initialized.", unit="blocks"),
        counter("blks_hit", "Blocks found in the cache.", unit="blocks"),
        counter("blks_read", "Blocks read from disk.", unit="blocks"),
        counter("blks_written", "Blocks written to disk.", unit="blocks"),
        counter("blks_exists", "Blocks whose existence was checked.", unit="blocks"),
        counter("flushes", "Flushes of dirty data."),
        counter("truncates", "Truncations."),
        instant("stats_reset_at", "When the statistics of this cache were last reset."),
    ),
    every_seconds=60,
    changes=True,
    resets=("stats_reset_at",),
)

RECOVERY_PREFETCH = Metric(
    name="recovery_prefetch",
    scope=Scope.CLUSTER,
    help="Blocks prefetched during recovery (pg_stat_recovery_prefetch, 15 and newer); of a standby, else no row.",
    key=(),
    columns=(
        counter("prefetch", "Blocks prefetched.", unit="blocks"),
        counter("hit", "Blocks not prefetched: in shared buffers already.", unit="blocks"),
        counter("skip_init", "Blocks not prefetched: to be initialized.", unit="blocks"),
        counter("skip_new", "Blocks not prefetched: they do not exist yet.", unit="blocks"),
        counter("skip_fpw", "Blocks not prefetched: the WAL has a full page image.", unit="blocks"),
        counter("skip_rep", "Blocks not prefetched: prefetched recently.", unit="blocks"),
        gauge("wal_distance_bytes", "How far ahead in the WAL it looks now."),
        gauge("block_distance", "How many blocks ahead it looks now.", unit="blocks"),
        gauge("io_depth", "Prefetches started and not known to be done."),
        _STATS_RESET,
    ),
    every_seconds=60,
    resets=("stats_reset_at",),
)
