"""A metric as PostgreSQL's own view has it, whatever the version: by the names, which are the view's own."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from contracts.metrics import CHECKPOINTER, DATABASE_CONFLICTS, IO, Metric
from tests.agent.targets.watching import Rows

#: The columns that have another name in the view.
_RENAMED = {
    "stats_reset_at": "stats_reset",
    "last_archived_at": "last_archived_time",
    "last_failed_at": "last_failed_time",
    "wal_distance_bytes": "wal_distance",
}

#: Where pg_stat_bgwriter had what pg_stat_checkpointer has from 17.
_CHECKPOINTER_BEFORE_17 = {
    "num_timed": "checkpoints_timed",
    "num_requested": "checkpoints_req",
    "write_time_us": "checkpoint_write_time",
    "sync_time_us": "checkpoint_sync_time",
    "buffers_written": "buffers_checkpoint",
    "stats_reset_at": "stats_reset",
}

Value = int | str | bool | None


def major(connection: psycopg.Connection) -> int:
    return connection.info.server_version // 10_000


def view_of(metric: Metric, version: int) -> str:
    if metric is CHECKPOINTER and version < 17:
        return "pg_stat_bgwriter"
    return f"pg_stat_{metric.name}"


def names_in_view(metric: Metric, version: int) -> dict[str, str]:
    """What the metric's columns are called there, whether or not this version has them."""
    if metric is CHECKPOINTER and version < 17:
        return _CHECKPOINTER_BEFORE_17
    return {name: _RENAMED.get(name, name.removesuffix("_us")) for name in metric.names}


def rows_in_view(metric: Metric, connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The view as it stands, with what pg_stat_io from 18 counts itself counted for older versions, too."""
    columns = "v.*"
    join = ""
    if metric is DATABASE_CONFLICTS:
        columns, join = "v.*, d.stats_reset", "join pg_stat_database d using (datid)"
    query = f"select {columns} from {view_of(metric, major(connection))} v {join}"
    with connection.cursor(row_factory=dict_row) as cursor:
        rows: list[dict[str, Any]] = cursor.execute(query.encode()).fetchall()
    if metric is IO and major(connection) < 18:
        for row in rows:
            for count, size in (("reads", "read_bytes"), ("writes", "write_bytes"), ("extends", "extend_bytes")):
                row[size] = None if row[count] is None or row["op_bytes"] is None else row[count] * row["op_bytes"]
    return rows


def in_view(metric: Metric, connection: psycopg.Connection) -> Rows:
    """The metric's rows by key, made from the view's."""
    names = names_in_view(metric, major(connection))
    found: Rows = {}
    for row in rows_in_view(metric, connection):
        values = {name: value_of(row.get(names.get(name, ""))) for name in metric.names}
        key = tuple(values[name] for name in metric.key)
        found[key[0] if len(key) == 1 else key] = values
    return found


def value_of(value: object) -> Value:
    """A value of the driver's as a frame has it; what is a float in these views is a time in milliseconds."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1_000_000)
    if isinstance(value, float):
        return round(value * 1000)
    if isinstance(value, Decimal):
        return int(value)
    assert value is None or isinstance(value, int | str)
    return value
