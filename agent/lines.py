"""Lines of COPY in text form, into the column arrays of a metric."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from contracts.batch import Columns
from contracts.limits import INSTANT_MAX
from contracts.metrics import Metric, Type

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_NULL = b"\\N"
#: So many lines become values at once: cut into pieces, a line takes ten times its room.
_AT_ONCE = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What PostgreSQL writes and `datetime` does not know: infinity, years before Christ, years of more than four digits.
_BEYOND = re.compile(rb"infinity$| BC$|^\d{5,}-")


class ShapeError(Exception):
    """A query does not answer the columns that its metric declares."""


def columns_of(metric: Metric, lines: Sequence[bytes]) -> Columns:
    """The values of these lines, as the metric's columns.

    Raises:
        ShapeError: a line has more or fewer values than the metric has columns.
    """
    columns: Columns = {column.name: [] for column in metric.columns}
    width = len(metric.columns)
    for first in range(0, len(lines), _AT_ONCE):
        some = lines[first : first + _AT_ONCE]
        cells = b"\t".join(some).split(b"\t")  # one cut for all lines: half the cost of one for each
        if len(cells) != width * len(some):
            raise ShapeError(f"{metric.name}: {len(cells)} values in {len(some)} rows, {width} declared for each")
        for place, column in enumerate(metric.columns):
            columns[column.name] += _values(column.type, cells[place::width])
    return columns


def keys_of(metric: Metric, keys: Sequence[bytes]) -> Columns:
    """Keys as `key_of` cuts them from lines, as the key's columns."""
    rows = [key.split(b"\t") for key in keys]
    declared = metric.columns[: len(metric.key)]
    return {
        column.name: _values(column.type, array)
        for column, array in zip(declared, zip(*rows, strict=True), strict=True)
    }


def cells(metric: Metric, column: str, lines: Iterable[bytes]) -> list[bytes]:
    """What stands in this column of the lines, as it stands there."""
    place = metric.names.index(column)
    return [line.split(b"\t", place + 1)[place] for line in lines]


def nulls(metric: Metric, column: str, lines: Sequence[bytes]) -> int:
    """In how many of these lines the column is null."""
    return _count(metric, column, lines, _NULL)


def withheld(metric: Metric, column: str, lines: Sequence[bytes]) -> int:
    """In how many of these lines the column is false, or null where it is no boolean: a right is missing."""
    return _count(metric, column, lines, b"f" if metric.by_name[column].type is Type.BOOLEAN else _NULL)


def _count(metric: Metric, column: str, lines: Sequence[bytes], value: bytes) -> int:
    return cells(metric, column, lines).count(value)


def key_of(metric: Metric) -> Callable[[bytes], bytes]:
    """What cuts the key from a line: the columns of the key come first."""
    parts = len(metric.key)
    if parts == 1:
        return lambda line: line.partition(b"\t")[0]
    return lambda line: b"\t".join(line.split(b"\t", parts)[:parts])


def _values(type_: Type, array: Sequence[bytes]) -> list[Any]:
    if type_ in {Type.BIGINT, Type.OID}:
        return _integers(array)
    convert = _CONVERT[type_]
    if type_ is Type.TEXT:
        # Owners, schemas and kinds are few and come in every row: each is one string.
        known = {value: None if value == _NULL else convert(value) for value in set(array)}
        return [known[value] for value in array]
    if _NULL in array:
        return [None if value == _NULL else convert(value) for value in array]
    return list(map(convert, array))


def _integers(array: Sequence[bytes]) -> list[Any]:
    # PostgreSQL writes integers as JSON does, and this parser takes half the time of int().
    text = b",".join(array)
    if b"." in text or b"e" in text:
        raise ValueError("a number that is no integer")
    numbers: list[Any] = from_json(b"[%b]" % text.replace(_NULL, b"null"), allow_inf_nan=False)
    return numbers


def _text(value: bytes) -> str:
    if b"\\" in value:
        value = _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), value)
    return value.decode(errors="replace")


def _instant(value: bytes) -> int | None:
    # The session's time zone is UTC and its datestyle ISO. Infinity, years before 1970 (a clock that was wrong) and
    # after 9999 are not what a frame can hold: one such value must not cost the whole batch.
    try:
        since = datetime.fromisoformat(value.decode()) - _EPOCH
    except ValueError:
        if not _BEYOND.search(value):
            raise
        return None
    at = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return at if 0 <= at <= INSTANT_MAX else None


def _float(value: bytes) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None  # JSON has no others


_CONVERT: dict[Type, Callable[[bytes], Any]] = {
    Type.FLOAT: _float,
    Type.TEXT: _text,
    Type.BOOLEAN: lambda value: value == b"t",
    Type.TIMESTAMP: _instant,
}
