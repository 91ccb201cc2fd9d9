"""Frames into their tables by binary COPY."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from psycopg import sql

from contracts.batch import Frame
from contracts.metrics import Metric, Type
from contracts.names import target_id
from functions.store import Connection

#: 2000-01-01 UTC, where PostgreSQL's timestamps begin, in microseconds since 1970.
_POSTGRES_EPOCH_US = 946_684_800_000_000

# COPY does not say types, it only has bytes, and a timestamptz is sent as the bigint of its microseconds since 2000:
# so instants stay integers all the way, and no datetime is made for any of them.
_SENT_AS = {
    Type.BIGINT: "int8",
    Type.OID: "oid",
    Type.FLOAT: "float8",
    Type.TEXT: "text",
    Type.BOOLEAN: "bool",
    Type.TIMESTAMP: "int8",
}


def copy_frames(connection: Connection, metric: Metric, frames: Iterable[tuple[str, Frame]]) -> None:
    """Append the rows of these frames, each of an agent, to their metric's table, within the caller's transaction."""
    statement, types = _statement(metric)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        write = copy.write_row
        for agent_id, frame in frames:
            for row in _rows(metric, agent_id, frame):
                write(row)


@functools.cache
def _statement(metric: Metric) -> tuple[sql.Composed, list[str]]:
    columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in metric.stored)
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        sql.Identifier("metric", metric.name), columns
    )
    return statement, [_SENT_AS[type_] for _, type_ in metric.stored]


def _rows(metric: Metric, agent_id: str, frame: Frame) -> Iterator[tuple[Any, ...]]:
    placed: dict[str, Any] = {
        "target_id": target_id(agent_id, frame.target),
        "collected_at": frame.collected_at - _POSTGRES_EPOCH_US,
        "datid": frame.datid,
        "epoch": frame.epoch,
    }
    for gone, columns, rows in ((False, frame.columns, frame.rows), (True, frame.gone or {}, frame.gone_rows)):
        if rows:
            placed["gone"] = gone
            arrays = [
                _array(columns, name, type_, rows) if name in metric.by_name else repeat(placed[name], rows)
                for name, type_ in metric.stored
            ]
            yield from zip(*arrays, strict=True)


def _array(columns: dict[str, list[Any]], name: str, type_: Type, rows: int) -> Sequence[Any] | repeat[None]:
    values = columns.get(name)
    if values is None:
        return repeat(None, rows)
    if type_ is Type.TIMESTAMP:
        return [None if value is None else value - _POSTGRES_EPOCH_US for value in values]
    return values
