"""What an agent uploads: frames, runs, gaps and a header.

Columns are checked as wholes against the catalogue, never cell by cell, so that a batch of a hundred thousand cells
costs milliseconds.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from contracts.limits import (
    BIGINT_MAX,
    BIGINT_MIN,
    INSTANT_MAX,
    MAX_AHEAD_US,
    MAX_COLUMNS,
    MAX_ROWS,
    MAX_RUNS,
    MAX_SEQ,
    OID_MAX,
)
from contracts.metrics import CATALOGUE, Column, Metric, Scope, Type
from contracts.names import HOST_TARGET, AgentId, StreamId, TargetName

#: Microseconds since 1970-01-01 UTC, up to the year 9999.
Instant = Annotated[int, Field(strict=True, ge=0, le=INSTANT_MAX)]
Duration = Annotated[int, Field(strict=True, ge=0, le=BIGINT_MAX)]
Count = Annotated[int, Field(strict=True, ge=0, le=BIGINT_MAX)]
Oid = Annotated[int, Field(strict=True, ge=0, le=OID_MAX)]
Bigint = Annotated[int, Field(strict=True, ge=BIGINT_MIN, le=BIGINT_MAX)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Text = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]


def _few(columns: object) -> object:
    # pydantic keeps an error of some hundred bytes for each value at fault: it is not to see a million of them.
    if isinstance(columns, dict) and len(columns) > MAX_COLUMNS:
        raise ValueError(f"{len(columns)} columns, more than {MAX_COLUMNS}")
    return columns


#: Column arrays: name → values, all of one length.
Columns = Annotated[dict[str, list[Any]], BeforeValidator(_few)]

_PYTHON_TYPES: dict[Type, frozenset[type]] = {
    Type.BIGINT: frozenset({int, type(None)}),
    Type.OID: frozenset({int, type(None)}),
    Type.TIMESTAMP: frozenset({int, type(None)}),
    Type.FLOAT: frozenset({int, float, type(None)}),
    Type.TEXT: frozenset({str, type(None)}),
    Type.BOOLEAN: frozenset({bool, type(None)}),
}

_RANGES: dict[Type, tuple[int, int]] = {
    Type.BIGINT: (BIGINT_MIN, BIGINT_MAX),
    Type.OID: (0, OID_MAX),
    Type.TIMESTAMP: (0, INSTANT_MAX),
}


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, found: object) -> object:
        # As with columns; fewer are told one by one.
        if isinstance(found, dict) and len(found) > 2 * len(cls.model_fields):
            raise ValueError(f"{len(found)} fields, more than the {len(cls.model_fields)} that there are")
        return found


class Mode(StrEnum):
    """Whether a frame has all rows, or those that changed since the frame before."""

    FULL = "full"
    CHANGED = "changed"


class Status(StrEnum):
    """How an execution of a collector ended."""

    OK = "ok"
    EMPTY = "empty"  # it ran, and there is nothing of that kind
    PERMISSION = "permission"
    UNSUPPORTED = "unsupported"  # this server does not have it
    TIMEOUT = "timeout"
    LOCKED = "locked"
    TRUNCATED = "truncated"  # a cap left rows out; rows_available has the true number
    SKIPPED = "skipped"  # not run on purpose; detail says why
    MISSED = "missed"  # the schedule could not be kept
    ERROR = "error"


class GapReason(StrEnum):
    """Why data that was collected, or was due, will never arrive."""

    SPOOL_FULL = "spool_full"
    SPOOL_AGE = "spool_age"
    DISK_FULL = "disk_full"
    CORRUPT = "corrupt"
    REJECTED = "rejected"
    MISSED = "missed"
    RETENTION = "retention"  # older than what the store keeps


class Frame(_Value):
    """One timed reading of one metric from one target.

    `epoch` identifies the time in which counters only grow; it is null for metrics without counters. A `changed`
    frame has the rows that differ from the frame before, and in `gone` the keys that are no longer there.
    """

    metric: Word
    target: TargetName
    datid: Oid | None = None
    collected_at: Instant
    epoch: Bigint | None = None
    mode: Mode = Mode.FULL
    columns: Columns
    gone: Columns | None = None

    @property
    def rows(self) -> int:
        return _length(self.columns)

    @property
    def gone_rows(self) -> int:
        return _length(self.gone) if self.gone else 0

    @model_validator(mode="after")
    def _agrees_with_the_catalogue(self) -> Self:
        metric = CATALOGUE.get(self.metric)
        if metric is None:
            raise ValueError(f"unknown metric {self.metric!r}")
        self._placed_as(metric)
        _check_columns(metric, self.columns, metric.columns, "columns")
        if self.gone is not None:
            if self.mode is not Mode.CHANGED:
                raise ValueError("gone: only a changed frame has keys that are gone")
            _check_columns(metric, self.gone, metric.columns[: len(metric.key)], "gone")
        return self

    def _placed_as(self, metric: Metric) -> None:
        if (metric.scope is Scope.HOST) != (self.target == HOST_TARGET):
            raise ValueError(f"target: {metric.name} is of scope {metric.scope}, which {self.target!r} is not")
        if (metric.scope is Scope.DATABASE) != (self.datid is not None):
            raise ValueError(
                f"datid: metrics of scope database have one, others have none; {metric.name} is {metric.scope}"
            )
        if (self.epoch is None) != (not metric.counters):
            raise ValueError(f"epoch: metrics with counters have one, others have none ({metric.name})")
        if self.mode is Mode.CHANGED and not metric.changes:
            raise ValueError(f"mode: {metric.name} always travels in full")


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))


def _check_columns(metric: Metric, found: Columns, declared: tuple[Column, ...], place: str) -> None:
    # A column that is missing is one that an older agent did not know: null. Keys are always there.
    known = {column.name: column for column in declared}
    for name in found:
        if name not in known:
            raise ValueError(f"{place}.{name}: {metric.name} has no such column")
    for name in metric.key:
        if name not in found:
            raise ValueError(f"{place}.{name}: a key of {metric.name} is missing")
    if not found:
        raise ValueError(f"{place}: at least one column is needed")
    length = _length(found)
    if length > MAX_ROWS:
        raise ValueError(f"{place}: {length} rows, more than {MAX_ROWS}")
    if not metric.key and length > 1:
        raise ValueError(f"{place}: {metric.name} has one row, {length} found")
    for name, values in found.items():
        if len(values) != length:
            raise ValueError(f"{place}.{name}: {len(values)} values where other columns have {length}")
        _check_values(known[name].type, values, f"{place}.{name}")
        if name in metric.key and None in values:
            raise ValueError(f"{place}.{name}: a key cannot be null (row {values.index(None)})")
    _check_keys(metric, found, place)


def _check_keys(metric: Metric, found: Columns, place: str) -> None:
    # Of two rows with one key nobody could say which is true, and each would count in a difference.
    if not metric.key:
        return
    keys = (
        found[metric.key[0]] if len(metric.key) == 1 else list(zip(*(found[name] for name in metric.key), strict=True))
    )
    if len(set(keys)) != len(keys):
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        row = next(row for row, key in enumerate(keys) if first[key] != row)
        raise ValueError(f"{place}.{metric.key[0]}[{row}]: a second row with the key {keys[row]!r}")


def _check_values(type_: Type, values: list[Any], place: str) -> None:
    expected, found = _PYTHON_TYPES[type_], set(map(type, values))
    if not found <= expected:
        row = next(row for row, value in enumerate(values) if type(value) not in expected)
        raise ValueError(f"{place}[{row}]: {type_} expected, {type(values[row]).__name__} found")
    if type_ in _RANGES:
        low, high = _RANGES[type_]
        numbers = [value for value in values if value is not None] if type(None) in found else values
        if not _within(numbers, low, high):
            row = next(row for row, value in enumerate(values) if value is not None and not low <= value <= high)
            raise ValueError(f"{place}[{row}]: {values[row]} is outside {type_}")
    elif type_ is Type.FLOAT:
        for row, value in enumerate(values):
            if value is not None and not _finite(value):
                raise ValueError(f"{place}[{row}]: not a finite number")
    elif type_ is Type.TEXT:
        for row, value in enumerate(values):
            if value is not None and "\x00" in value:
                raise ValueError(f"{place}[{row}]: text with a NUL character")
            if value is not None and not _encodable(value):
                raise ValueError(f"{place}[{row}]: text that is not Unicode (a lone surrogate)")


def _within(numbers: list[int], low: int, high: int) -> bool:
    if low == BIGINT_MIN and high == BIGINT_MAX:
        try:
            array("q", numbers)  # one pass in C, where min and max are two
        except OverflowError:
            return False
        return True
    return not numbers or (min(numbers) >= low and max(numbers) <= high)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Run(_Value):
    """The record of one execution of a collector; it exists even where there is no frame."""

    collector: Word
    target: TargetName
    datid: Oid | None = None
    started_at: Instant
    duration_us: Duration
    status: Status
    sqlstate: Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{5}$")] | None = None
    rows: Count = 0
    rows_available: Count | None = None
    detail: Text | None = None


class Gap(_Value):
    """A stretch of time whose data was lost, and why."""

    reason: GapReason
    from_at: Instant
    until_at: Instant
    target: TargetName | None = None
    collector: Word | None = None
    batches: Count = 0
    detail: Text | None = None


class ConfigState(StrEnum):
    DEFAULT = "default"  # none received yet: built-in defaults
    APPLIED = "applied"
    REJECTED = "rejected"


class Config(_Value):
    """The configuration that the agent obeys, and what became of the last one it was given."""

    version: Count = 0
    etag: Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")] | None = None
    state: ConfigState = ConfigState.DEFAULT
    reason: Text | None = None


class Clock(_Value):
    """How far the agent's clock is ahead of the server's, from the last answer's Date; null before the first."""

    skew_us: Bigint | None = None


class Batch(_Value):
    """What is uploaded: at one place in one stream of one agent."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="pgAnalytics batch, schema 1")

    # Not a Literal: True and 1.0 equal 1.
    schema_: Annotated[int, Field(alias="schema", strict=True, ge=1, le=1)] = 1
    agent_id: AgentId
    stream_id: StreamId
    seq: Annotated[int, Field(strict=True, ge=0, le=MAX_SEQ)]
    sent_at: Instant
    agent_version: Annotated[str, StringConstraints(max_length=50, pattern=r"^[0-9A-Za-z.+-]+$")]
    config: Config = Config()
    clock: Clock = Clock()
    # The first item at fault ends it: each would leave an error behind that is larger than itself.
    frames: Annotated[tuple[Frame, ...], Field(max_length=MAX_RUNS, fail_fast=True)] = ()
    runs: Annotated[tuple[Run, ...], Field(max_length=MAX_RUNS, fail_fast=True)] = ()
    gaps: Annotated[tuple[Gap, ...], Field(max_length=MAX_RUNS, fail_fast=True)] = ()

    @property
    def rows(self) -> int:
        """Rows of all frames, keys that are gone included."""
        return sum(frame.rows + frame.gone_rows for frame in self.frames)

    @model_validator(mode="after")
    def _not_too_many_rows(self) -> Self:
        if self.rows > MAX_ROWS:
            raise ValueError(f"frames: {self.rows} rows, more than {MAX_ROWS}")
        return self

    def ahead(self, now_us: int) -> str | None:
        """What is further in the future than may be, as a refusal that names the place; None where nothing is.

        `now_us` is the reader's clock. What is in a batch is held against when it was sent: the agent's clock may be
        wrong, but not twice. Gaps are let be: one tells of a batch that was refused for its clock, by that clock, and
        were it refused in turn no batch of that agent would ever be taken again.
        """
        if ahead := sent_ahead(self.sent_at, now_us):
            return ahead
        last = self.sent_at + MAX_AHEAD_US
        for place, at in self._instants():
            if at > last:
                return f"{place}: {(at - self.sent_at) // 1_000_000} seconds after the batch was sent"
        return None

    def _instants(self) -> Iterator[tuple[str, int]]:
        for index, frame in enumerate(self.frames):
            yield f"frames[{index}].collected_at", frame.collected_at
        for index, run in enumerate(self.runs):
            yield f"runs[{index}].started_at", run.started_at


def sent_ahead(sent_at: int, now_us: int) -> str | None:
    """The refusal of a batch that claims to be sent later than the reader's clock allows; None where it is not."""
    if sent_at <= now_us + MAX_AHEAD_US:
        return None
    return f"sent_at: {(sent_at - now_us) // 1_000_000} seconds ahead of this server; set the agent's clock"
