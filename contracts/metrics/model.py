"""The words in which a metric is declared: scope, kind, type, column."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Scope(StrEnum):
    """Where a metric is read: once a host, once a PostgreSQL server, or once in each of its databases."""

    HOST = "host"
    CLUSTER = "cluster"
    DATABASE = "database"


class Kind(StrEnum):
    """What a value means over time."""

    COUNTER = "counter"  # cumulative since an epoch; deltas are computed in the store
    GAUGE = "gauge"  # as it was at that moment
    LABEL = "label"  # names or describes
    TIMESTAMP = "timestamp"  # an instant that the source remembers


class Type(StrEnum):
    """A column's type in the store. On the wire: JSON integer, number, string, boolean; instants are integers."""

    BIGINT = "bigint"
    FLOAT = "double precision"
    TEXT = "text"
    BOOLEAN = "boolean"
    OID = "oid"
    TIMESTAMP = "timestamp with time zone"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a metric. `unit` is for readers; the name's ending says the same (`_us`, `_bytes`)."""

    name: str
    kind: Kind
    type: Type
    unit: str
    help: str


@dataclass(frozen=True)
class Metric:
    """A named, typed family of columns; one table in the store.

    Attributes:
        name: table name in the store and `metric` of a frame.
        scope: where it is read.
        help: one sentence, for the reference page.
        key: the columns that tell rows of one frame apart; empty for a metric of one row.
        columns: all columns, the key's first, in the order of the queries and of the store.
        every_seconds: the default interval.
        changes: whether it travels as changed frames between full ones.
        resets: columns that tell when this row's own counters were reset: a row with another value there starts an
            epoch of its own, whatever the frame's epoch says.
        at_most: how many rows one reading has at most, the busiest; None is no cap. What a document says wins.
    """

    name: str
    scope: Scope
    help: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    every_seconds: int
    changes: bool = False
    resets: tuple[str, ...] = ()
    at_most: int | None = None

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) != len(names):
            raise ValueError(f"metric {self.name}: a column is declared twice")
        if names[: len(self.key)] != self.key:
            raise ValueError(f"metric {self.name}: the key's columns come first, in the key's order")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """The columns whose deltas the store computes."""
        return tuple(column.name for column in self.columns if column.kind is Kind.COUNTER)

    @cached_property
    def stored(self) -> tuple[tuple[str, Type], ...]:
        """Every column of the store's table, in order: what places a row, then the metric's own columns."""
        placed: list[tuple[str, Type]] = [("target_id", Type.BIGINT), ("collected_at", Type.TIMESTAMP)]
        if self.scope is Scope.DATABASE:
            placed.append(("datid", Type.OID))
        if self.counters:
            placed.append(("epoch", Type.BIGINT))
        if self.changes:
            placed.append(("gone", Type.BOOLEAN))
        return (*placed, *((column.name, column.type) for column in self.columns))


def counter(name: str, help: str, unit: str = "") -> Column:
    return Column(name, Kind.COUNTER, Type.BIGINT, unit or unit_of(name), help)


def gauge(name: str, help: str, unit: str = "", type: Type = Type.BIGINT) -> Column:
    return Column(name, Kind.GAUGE, type, unit or unit_of(name), help)


def label(name: str, help: str, type: Type = Type.TEXT) -> Column:
    return Column(name, Kind.LABEL, type, "", help)


def instant(name: str, help: str) -> Column:
    return Column(name, Kind.TIMESTAMP, Type.TIMESTAMP, "UTC", help)


def unit_of(name: str) -> str:
    """The unit that a column's name ends in; otherwise it counts something: `1`."""
    if name.endswith("_us"):
        return "microseconds"
    if name.endswith("_bytes"):
        return "bytes"
    return "1"
