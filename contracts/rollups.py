"""What the store keeps of each hour when the readings themselves are gone: a table in the schema `rollup` each.

Of counters the sum of their differences, of gauges average, least, greatest and last. Declared here once: from it come
the drafts of migrations, what maintenance does, and the reference page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from contracts.metrics import CATALOGUE, Kind, Metric, Scope, Type

#: What is known of a counter's sum, and of a gauge's values; `resets` and `covered_us` are of all rows of the readings.
OF_COUNTERS = {
    "readings": "Rows that were read; a changed frame has none where nothing changed.",
    "covered_us": "Time that the differences between readings of this hour are of, in epochs that went on.",
    "resets": "Readings that began a new epoch.",
    "unknown": "Rows without a difference: there was none before them in their epoch.",
    "falls": "Rows whose counters fell within an epoch: without a difference, too.",
}
OF_GAUGES = {"samples": "Readings that the average is of."}
PARTS = ("avg", "min", "max", "last")


@dataclass(frozen=True)
class Rollup:
    """The columns of a metric that are rolled up by the hour.

    Attributes:
        name: of the metric, and of the table.
        by: labels to add rows up by, instead of the metric's key; a reading without such rows counts as 0.
    """

    name: str
    counters: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = {name: self.metric.by_name[name].kind for name in (*self.counters, *self.gauges, *self.by)}
        right = [Kind.COUNTER] * len(self.counters) + [Kind.GAUGE] * len(self.gauges) + [Kind.LABEL] * len(self.by)
        if list(kinds.values()) != right:
            raise ValueError(f"rollup {self.name}: a column is declared twice, or is of another kind")
        if self.by and self.counters:
            raise ValueError(f"rollup {self.name}: counters are summed by the key")

    @cached_property
    def metric(self) -> Metric:
        return CATALOGUE[self.name]

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What tells rows of one target and hour apart."""
        placed = ("datid",) if self.metric.scope is Scope.DATABASE else ()
        return (*placed, *(self.by or self.metric.key))

    @cached_property
    def stored(self) -> tuple[tuple[str, Type], ...]:
        """Every column of the table, in order."""
        return tuple(self._stored())

    def _stored(self) -> Iterator[tuple[str, Type]]:
        yield from (("target_id", Type.BIGINT), ("hour", Type.TIMESTAMP))
        types = dict(self.metric.stored)
        yield from ((name, types[name]) for name in self.key)
        yield from ((name, Type.BIGINT) for name in self.counters)
        if self.counters:
            yield from ((name, Type.BIGINT) for name in OF_COUNTERS)
        for name in self.gauges:
            yield from ((f"{name}_{part}", Type.FLOAT if part == "avg" else types[name]) for part in PARTS)
        if self.gauges:
            yield from ((name, Type.BIGINT) for name in OF_GAUGES)


ROLLUPS: tuple[Rollup, ...] = (
    Rollup(
        "host_cpu",
        counters=("user_us", "nice_us", "system_us", "idle_us", "iowait_us", "irq_us", "softirq_us", "steal_us"),
    ),
    Rollup(
        "host_memory",
        counters=("swapped_in_bytes", "swapped_out_bytes"),
        gauges=("available_bytes", "cached_bytes", "shared_bytes", "dirty_bytes", "swap_used_bytes"),
    ),
    Rollup("host_load", gauges=("load_1m", "load_5m", "runnable")),
    Rollup(
        "host_disk",
        counters=("reads", "writes", "read_bytes", "written_bytes", "read_us", "write_us", "busy_us"),
    ),
    Rollup(
        "host_network",
        counters=("received_bytes", "sent_bytes", "receive_errors", "send_errors", "receive_drops", "send_drops"),
    ),
    Rollup("host_filesystem", gauges=("total_bytes", "used_bytes", "available_bytes", "used_inodes")),
    Rollup(
        "database_stats",
        counters=(
            "xact_commit",
            "xact_rollback",
            "blks_read",
            "blks_hit",
            "tup_returned",
            "tup_fetched",
            "tup_inserted",
            "tup_updated",
            "tup_deleted",
            "conflicts",
            "temp_files",
            "temp_bytes",
            "deadlocks",
            "checksum_failures",
            "blk_read_time_us",
            "blk_write_time_us",
            "session_time_us",
            "active_time_us",
            "idle_in_transaction_time_us",
            "sessions",
        ),
        gauges=("numbackends",),
    ),
    Rollup(
        "table_stats",
        counters=(
            "seq_scan",
            "seq_tup_read",
            "n_tup_ins",
            "n_tup_upd",
            "n_tup_del",
            "n_tup_hot_upd",
            "vacuum_count",
            "autovacuum_count",
            "analyze_count",
            "autoanalyze_count",
            "heap_blks_read",
            "heap_blks_hit",
        ),
        gauges=("n_live_tup", "n_dead_tup"),
    ),
    Rollup("index_stats", counters=("idx_scan", "idx_tup_read", "idx_tup_fetch", "idx_blks_read", "idx_blks_hit")),
    Rollup(
        "statement_stats",
        counters=(
            "calls",
            "rows",
            "total_exec_time_us",
            "total_plan_time_us",
            "shared_blks_hit",
            "shared_blks_read",
            "shared_blks_dirtied",
            "shared_blks_written",
            "temp_blks_read",
            "temp_blks_written",
            "shared_blk_read_time_us",
            "shared_blk_write_time_us",
            "wal_bytes",
        ),
    ),
    Rollup("bgwriter", counters=("buffers_clean", "maxwritten_clean", "buffers_alloc")),
    Rollup("checkpointer", counters=("num_timed", "num_requested", "write_time_us", "sync_time_us", "buffers_written")),
    Rollup("wal", counters=("wal_records", "wal_fpi", "wal_bytes", "wal_buffers_full")),
    Rollup(
        "io",
        counters=(
            "reads",
            "read_bytes",
            "read_time_us",
            "writes",
            "write_bytes",
            "write_time_us",
            "extends",
            "extend_bytes",
            "hits",
            "evictions",
            "fsyncs",
            "fsync_time_us",
        ),
    ),
    Rollup("database_size", gauges=("size_bytes",)),
    Rollup("xid_age", gauges=("datfrozenxid_age", "datminmxid_age")),
    Rollup("relation_size", gauges=("size_bytes", "indexes_bytes", "total_bytes", "estimated_rows")),
    Rollup("activity", gauges=("sessions",), by=("datid", "state", "wait_event_type")),
    Rollup(
        "agent_health",
        counters=("cpu_us", "spooled_bytes", "dropped_batches", "sent_bytes"),
        gauges=("rss_bytes", "spool_batches", "spool_bytes"),
    ),
)

#: Hours after it in which a reading can still be the one before another: how far back the differences look.
LOOKBACK_HOURS = 3
