"""Metrics of what a database holds: sizes and bloat of its relations, its sequences and its functions."""

from contracts.metrics.model import Metric, Scope, Type, counter, gauge, label

RELATION_SIZE = Metric(
    name="relation_size",
    scope=Scope.DATABASE,
    help=(
        "Sizes of tables, materialized views and indexes; a partitioned table has none of its own. What is locked "
        "exclusively, or about to be, is not waited for: its sizes are null."
    ),
    key=("relid",),
    columns=(
        label("relid", "Oid of the table or index.", type=Type.OID),
        gauge("size_bytes", "The relation itself, all its forks; without TOAST and indexes."),
        gauge("main_bytes", "Its main fork: the data."),
        gauge("map_bytes", "Its free space map and visibility map."),
        gauge("toast_bytes", "Its TOAST table with the index of that; null without one."),
        gauge("indexes_bytes", "All its indexes; null for an index, and where one of them is locked."),
        gauge("total_bytes", "All of these together; null where a part is not known."),
        gauge("estimated_rows", "Live rows at the last vacuum or analyze; null before the first."),
        gauge("estimated_pages", "Pages of the main fork at the last vacuum or analyze."),
    ),
    every_seconds=900,
    changes=True,
)

SEQUENCE = Metric(
    name="sequence",
    scope=Scope.DATABASE,
    help="How far sequences have come; the metric relation tells their names and the tables that own them.",
    key=("relid",),
    columns=(
        label("relid", "Oid of the sequence.", type=Type.OID),
        label("data_type", "Type of its values: smallint, integer or bigint."),
        gauge("last_value", "Last value given, or set aside by its cache; null before the first."),
        gauge("min_value", "Least value that it may give."),
        gauge("max_value", "Greatest value that it may give."),
        gauge("increment", "What is added each time."),
        gauge("cycles", "Whether it begins anew at its end.", type=Type.BOOLEAN),
        gauge("column_max_value", "Greatest value that the column which owns it can hold; null where none does."),
        gauge(
            "used_share",
            "Share of its values that are given, from 0 to 1; of those that the owning column can hold, if fewer.",
            type=Type.FLOAT,
        ),
        gauge(
            "is_readable",
            "Whether the agent's role may read it: without, nothing is known of its use; null while it is locked.",
            type=Type.BOOLEAN,
        ),
    ),
    every_seconds=3600,
    changes=True,
)

BLOAT = Metric(
    name="bloat",
    scope=Scope.DATABASE,
    help=(
        "Space of tables and B-tree indexes that a rewrite would give back, the largest relations; estimated from "
        "the planner's statistics, as of the last vacuum or analyze, against the pages that the rows would need."
    ),
    key=("relid",),
    columns=(
        label("relid", "Oid of the table, materialized view or B-tree index.", type=Type.OID),
        gauge("real_bytes", "Pages at the last vacuum or analyze; TOAST is not counted."),
        gauge("needed_bytes", "What its rows would need, packed as its fillfactor says; null where not estimated."),
        gauge("bloat_bytes", "What is above that; null where not estimated."),
        gauge(
            "is_estimate_na",
            "Whether there is no estimate: never analyzed, a column without statistics, or statistics not readable.",
            type=Type.BOOLEAN,
        ),
        gauge(
            "is_readable",
            "Whether the agent's role may read the statistics, which takes SELECT on the whole table.",
            type=Type.BOOLEAN,
        ),
    ),
    every_seconds=7200,
    changes=True,
    at_most=4000,
)

FUNCTION = Metric(
    name="function",
    scope=Scope.DATABASE,
    help="Names of the functions that function_stats tells of.",
    key=("funcid",),
    columns=(
        label("funcid", "Oid of the function.", type=Type.OID),
        label("schema_name", "Schema."),
        label("function_name", "Name."),
        label("arguments", "Types of its arguments, which tell it from others of that name."),
        label("kind", "f function, p procedure, a aggregate, w window function."),
        label("language", "Language."),
        label("owner", "Name of the owning role."),
    ),
    every_seconds=300,
    changes=True,
)

FUNCTION_STATS = Metric(
    name="function_stats",
    scope=Scope.DATABASE,
    help="Executions of functions (pg_stat_get_function_* functions); there are none unless track_functions is on.",
    key=("funcid",),
    columns=(
        label("funcid", "Oid of the function.", type=Type.OID),
        counter("calls", "Executions."),
        counter("total_time_us", "Spent in it and in the functions that it called."),
        counter("self_time_us", "Spent in it alone."),
    ),
    every_seconds=60,
    changes=True,
    at_most=1000,
)
