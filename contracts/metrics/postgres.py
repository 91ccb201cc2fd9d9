"""Metrics of a PostgreSQL server and of its databases; names are PostgreSQL's own where it has one."""

from contracts.metrics.model import Metric, Scope, Type, counter, gauge, instant, label

CLUSTER = Metric(
    name="cluster",
    scope=Scope.CLUSTER,
    help="What the server is: its version, identity and role.",
    key=(),
    columns=(
        label("system_identifier", "Identity of the cluster, shared by its standbys (pg_control_system)."),
        label("server_version_num", "Version as a number, such as 180006.", type=Type.BIGINT),
        label("server_version", "Version as the server writes it."),
        label("cluster_name", "The setting cluster_name; null where it is empty."),
        label("port", "Port it listens on.", type=Type.BIGINT),
        label("data_directory", "Data directory; null without the right to read it."),
        gauge("timeline", "Timeline of its WAL."),
        gauge("in_recovery", "Whether it is a standby or still recovering.", type=Type.BOOLEAN),
        instant("started_at", "When the postmaster started."),
    ),
    every_seconds=300,
)

DATABASE = Metric(
    name="database",
    scope=Scope.CLUSTER,
    help="Names and properties of databases (pg_database).",
    key=("datid",),
    columns=(
        label("datid", "Oid of the database.", type=Type.OID),
        label("datname", "Name."),
        label("owner", "Name of the owning role."),
        label("encoding", "Encoding."),
        gauge("is_template", "Whether any role with CREATEDB may clone it.", type=Type.BOOLEAN),
        gauge("allows_connections", "Whether anybody may connect.", type=Type.BOOLEAN),
        gauge("connection_limit", "Concurrent connections allowed; -1 is no limit."),
    ),
    every_seconds=300,
    changes=True,
)

DATABASE_STATS = Metric(
    name="database_stats",
    scope=Scope.CLUSTER,
    help="Activity of each database since its statistics were reset (pg_stat_database); oid 0 is shared objects.",
    key=("datid",),
    columns=(
        label("datid", "Oid of the database; 0 for shared objects.", type=Type.OID),
        gauge("numbackends", "Sessions connected now."),
        counter("xact_commit", "Transactions committed."),
        counter("xact_rollback", "Transactions rolled back."),
        counter("blks_read", "Blocks read from outside shared buffers.", unit="blocks"),
        counter("blks_hit", "Blocks found in shared buffers.", unit="blocks"),
        counter("tup_returned", "Live rows fetched by sequential scans, and index entries returned by index scans."),
        counter("tup_fetched", "Live rows fetched by index scans."),
        counter("tup_inserted", "Rows inserted."),
        counter("tup_updated", "Rows updated."),
        counter("tup_deleted", "Rows deleted."),
        counter("conflicts", "Queries cancelled by conflicts with recovery."),
        counter("temp_files", "Temporary files created."),
        counter("temp_bytes", "Written to temporary files."),
        counter("deadlocks", "Deadlocks."),
        counter("checksum_failures", "Data page checksum failures; null where checksums are off."),
        instant("checksum_last_failure_at", "When the last checksum failure was detected."),
        counter("blk_read_time_us", "Reading blocks; stays 0 unless track_io_timing is on."),
        counter("blk_write_time_us", "Writing blocks; stays 0 unless track_io_timing is on."),
        counter("session_time_us", "Spent in sessions."),
        counter("active_time_us", "Spent executing statements."),
        counter("idle_in_transaction_time_us", "Spent idle in a transaction."),
        counter("sessions", "Sessions established."),
        counter("sessions_abandoned", "Sessions lost by their client."),
        counter("sessions_fatal", "Sessions ended by fatal errors."),
        counter("sessions_killed", "Sessions ended by an operator."),
        counter("parallel_workers_to_launch", "Parallel workers planned (18 and newer)."),
        counter("parallel_workers_launched", "Parallel workers launched (18 and newer)."),
        instant("stats_reset_at", "When this database's statistics were last reset."),
    ),
    every_seconds=60,
    changes=True,
    resets=("stats_reset_at",),
)

RELATION = Metric(
    name="relation",
    scope=Scope.DATABASE,
    help=(
        "Names, kinds and parents of tables, indexes, materialized views and sequences (pg_class); system schemas left "
        "out."
    ),
    key=("relid",),
    columns=(
        label("relid", "Oid of the relation.", type=Type.OID),
        label("schema_name", "Schema."),
        label("relation_name", "Name."),
        label("kind", "r table, p partitioned table, m materialized view, i index, I partitioned index, S sequence."),
        label("persistence", "p permanent, u unlogged."),
        label("owner", "Name of the owning role."),
        label("table_relid", "Of an index, or of a sequence that a column owns: the oid of the table.", type=Type.OID),
        label("parent_relid", "Of a partition or of its index: the oid of the parent.", type=Type.OID),
        label("options", "Storage parameters, as pg_class.reloptions has them."),
        gauge("is_unique", "Of an index: whether it is unique.", type=Type.BOOLEAN),
        gauge("is_primary", "Of an index: whether it is the primary key.", type=Type.BOOLEAN),
        gauge("is_valid", "Of an index: whether queries may use it.", type=Type.BOOLEAN),
        label("access_method", "How it is stored: heap, btree, gin and so on; null for most partitioned tables."),
        label("tablespace", "Tablespace; null is the database's own, or none."),
    ),
    every_seconds=300,
    changes=True,
)

TABLE_STATS = Metric(
    name="table_stats",
    scope=Scope.DATABASE,
    help=(
        "Activity of tables and materialized views (pg_stat_get_* functions); what their indexes did is index_stats. "
        "A table that falls below the cap, in blocks fetched, is gone until it is back."
    ),
    key=("relid",),
    columns=(
        label("relid", "Oid of the table.", type=Type.OID),
        counter("seq_scan", "Sequential scans."),
        instant("last_seq_scan_at", "Last sequential scan (16 and newer)."),
        counter("seq_tup_read", "Live rows fetched by sequential scans."),
        counter("bitmap_tup_fetch", "Live rows fetched by bitmap heap scans; index_stats has those of index scans."),
        counter("n_tup_ins", "Rows inserted."),
        counter("n_tup_upd", "Rows updated."),
        counter("n_tup_del", "Rows deleted."),
        counter("n_tup_hot_upd", "Rows updated without a new index entry."),
        counter("n_tup_newpage_upd", "Rows updated onto another page (16 and newer)."),
        gauge("n_live_tup", "Live rows, estimated."),
        gauge("n_dead_tup", "Dead rows, estimated."),
        gauge("n_mod_since_analyze", "Rows modified since the last analyze, estimated."),
        gauge("n_ins_since_vacuum", "Rows inserted since the last vacuum, estimated."),
        instant("last_vacuum_at", "Last manual vacuum, VACUUM FULL aside."),
        instant("last_autovacuum_at", "Last vacuum by autovacuum."),
        instant("last_analyze_at", "Last manual analyze."),
        instant("last_autoanalyze_at", "Last analyze by autovacuum."),
        counter("vacuum_count", "Manual vacuums, VACUUM FULL aside."),
        counter("autovacuum_count", "Vacuums by autovacuum."),
        counter("analyze_count", "Manual analyzes."),
        counter("autoanalyze_count", "Analyzes by autovacuum."),
        counter("total_vacuum_time_us", "Spent in manual vacuums (18 and newer)."),
        counter("total_autovacuum_time_us", "Spent in vacuums by autovacuum (18 and newer)."),
        counter("total_analyze_time_us", "Spent in manual analyzes (18 and newer)."),
        counter("total_autoanalyze_time_us", "Spent in analyzes by autovacuum (18 and newer)."),
        counter("heap_blks_read", "Blocks of the table read from outside shared buffers.", unit="blocks"),
        counter("heap_blks_hit", "Blocks of the table found in shared buffers.", unit="blocks"),
        counter("toast_blks_read", "Blocks of its TOAST table read; null without one.", unit="blocks"),
        counter("toast_blks_hit", "Blocks of its TOAST table found; null without one.", unit="blocks"),
    ),
    every_seconds=60,
    changes=True,
    at_most=1000,
)

INDEX_STATS = Metric(
    name="index_stats",
    scope=Scope.DATABASE,
    help=(
        "Activity of indexes (pg_stat_get_* functions); the metric relation tells their tables. An index that falls "
        "below the cap, in blocks fetched, is gone until it is back."
    ),
    key=("indexrelid",),
    columns=(
        label("indexrelid", "Oid of the index.", type=Type.OID),
        counter("idx_scan", "Scans of the index."),
        instant("last_idx_scan_at", "Last scan (16 and newer)."),
        counter("idx_tup_read", "Index entries returned by scans."),
        counter("idx_tup_fetch", "Live table rows fetched by simple scans of the index."),
        counter("idx_blks_read", "Blocks of the index read from outside shared buffers.", unit="blocks"),
        counter("idx_blks_hit", "Blocks of the index found in shared buffers.", unit="blocks"),
    ),
    every_seconds=60,
    changes=True,
    at_most=3000,
)
