"""Metrics of statements, as the extension pg_stat_statements counts them."""

from contracts.metrics.model import Metric, Scope, Type, counter, gauge, instant, label

STATEMENT_STATS = Metric(
    name="statement_stats",
    scope=Scope.CLUSTER,
    help=(
        "Statements by shape, user and database (pg_stat_statements), those with the most execution time; one that "
        "falls below the cap is gone until it is back."
    ),
    key=("userid", "dbid", "queryid", "toplevel"),
    columns=(
        label("userid", "Oid of the role that executed it.", type=Type.OID),
        label("dbid", "Oid of the database in which it was executed.", type=Type.OID),
        label("queryid", "Identifier of its shape; the metric statement_text has the text.", type=Type.BIGINT),
        label("toplevel", "Whether a client sent it, rather than a function.", type=Type.BOOLEAN),
        instant("stats_since_at", "Since when it is counted (extension 1.11 and newer)."),
        instant("minmax_stats_since_at", "Since when least and greatest times hold (extension 1.11 and newer)."),
        counter("calls", "Executions."),
        counter("plans", "Plannings; stays 0 unless pg_stat_statements.track_planning is on."),
        counter("rows", "Rows returned or affected."),
        counter("total_exec_time_us", "Spent executing."),
        gauge("min_exec_time_us", "Shortest execution."),
        gauge("max_exec_time_us", "Longest execution."),
        gauge("mean_exec_time_us", "Mean execution."),
        gauge("stddev_exec_time_us", "Standard deviation of executions."),
        counter("total_plan_time_us", "Spent planning."),
        gauge("min_plan_time_us", "Shortest planning."),
        gauge("max_plan_time_us", "Longest planning."),
        gauge("mean_plan_time_us", "Mean planning."),
        gauge("stddev_plan_time_us", "Standard deviation of plannings."),
        counter("shared_blks_hit", "Shared blocks found in shared buffers.", unit="blocks"),
        counter("shared_blks_read", "Shared blocks read.", unit="blocks"),
        counter("shared_blks_dirtied", "Shared blocks dirtied.", unit="blocks"),
        counter("shared_blks_written", "Shared blocks written.", unit="blocks"),
        counter("local_blks_hit", "Blocks of temporary tables found in local buffers.", unit="blocks"),
        counter("local_blks_read", "Blocks of temporary tables read.", unit="blocks"),
        counter("local_blks_dirtied", "Blocks of temporary tables dirtied.", unit="blocks"),
        counter("local_blks_written", "Blocks of temporary tables written.", unit="blocks"),
        counter("temp_blks_read", "Blocks of temporary files read.", unit="blocks"),
        counter("temp_blks_written", "Blocks of temporary files written.", unit="blocks"),
        counter(
            "shared_blk_read_time_us",
            "Reading shared blocks, and local ones before extension 1.11; stays 0 unless track_io_timing is on.",
        ),
        counter(
            "shared_blk_write_time_us",
            "Writing shared blocks, and local ones before extension 1.11; stays 0 unless track_io_timing is on.",
        ),
        counter("local_blk_read_time_us", "Reading local blocks (extension 1.11 and newer)."),
        counter("local_blk_write_time_us", "Writing local blocks (extension 1.11 and newer)."),
        counter("temp_blk_read_time_us", "Reading temporary files (extension 1.10 and newer)."),
        counter("temp_blk_write_time_us", "Writing temporary files (extension 1.10 and newer)."),
        counter("wal_records", "WAL records."),
        counter("wal_fpi", "WAL full page images."),
        counter("wal_bytes", "WAL."),
        counter("wal_buffers_full", "Times that the WAL buffers became full (extension 1.12 and newer)."),
        counter("jit_functions", "Functions compiled just in time (extension 1.10 and newer)."),
        counter("jit_generation_time_us", "Generating code (extension 1.10 and newer)."),
        counter("jit_inlining_count", "Times that functions were inlined (extension 1.10 and newer)."),
        counter("jit_inlining_time_us", "Inlining functions (extension 1.10 and newer)."),
        counter("jit_optimization_count", "Times that code was optimized (extension 1.10 and newer)."),
        counter("jit_optimization_time_us", "Optimizing code (extension 1.10 and newer)."),
        counter("jit_emission_count", "Times that code was emitted (extension 1.10 and newer)."),
        counter("jit_emission_time_us", "Emitting code (extension 1.10 and newer)."),
        counter("jit_deform_count", "Functions compiled that deform tuples (extension 1.11 and newer)."),
        counter("jit_deform_time_us", "Compiling functions that deform tuples (extension 1.11 and newer)."),
        counter("parallel_workers_to_launch", "Parallel workers planned (extension 1.12 and newer)."),
        counter("parallel_workers_launched", "Parallel workers launched (extension 1.12 and newer)."),
    ),
    every_seconds=60,
    changes=True,
    resets=("stats_since_at",),
    at_most=2000,
)

STATEMENT_INFO = Metric(
    name="statement_info",
    scope=Scope.CLUSTER,
    help=(
        "How far pg_stat_statements can be trusted; while dealloc rises, every total of statement_stats is a lower "
        "bound. How many statements it has, the runs of statement_stats tell."
    ),
    key=(),
    columns=(
        counter("dealloc", "Times that the least executed statements were thrown out to make room."),
        gauge("max_statements", "The setting pg_stat_statements.max."),
        instant("stats_reset_at", "When all statements were last reset."),
    ),
    every_seconds=60,
)

STATEMENT_TEXT = Metric(
    name="statement_text",
    scope=Scope.CLUSTER,
    help=(
        "Texts of statements, each when it is new and once a day, so that every day's data explains itself; literals "
        "and comments are taken out."
    ),
    key=("queryid",),
    columns=(
        label("queryid", "Identifier of the statement's shape.", type=Type.BIGINT),
        label("query", "Text, 8,192 characters at most; `…` stands at the end of one that was cut."),
    ),
    every_seconds=60,
)
