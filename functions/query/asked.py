"""What is asked of one metric: which rows, raw or as deltas, of which stretch of time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from contracts.metrics import CATALOGUE, Metric, Scope, Type

WINDOW = timedelta(hours=1)
MAX_WINDOW = timedelta(days=7)

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


class Values(StrEnum):
    """Rows as they were sent, counters cumulative; or what the counters grew by since the reading before."""

    RAW = "raw"
    DELTA = "delta"


class AskedError(ValueError):
    """What is asked for cannot be; the message names the parameter."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows: collected after `from_at`, up to and including `until_at`."""

    target_id: int
    metric: Metric
    values: Values
    from_at: datetime
    until_at: datetime
    datid: int | None = None
    relid: int | None = None

    @property
    def order(self) -> tuple[tuple[str, Type], ...]:
        """The columns that order the rows, and tell them apart."""
        placed = [("collected_at", Type.TIMESTAMP)]
        if self.metric.scope is Scope.DATABASE:
            placed.append(("datid", Type.OID))
        return (*placed, *((name, self.metric.by_name[name].type) for name in self.metric.key))

    @property
    def columns(self) -> tuple[str, ...]:
        names = [name for name, _ in self.metric.stored if name != "target_id"]
        if self.values is Values.DELTA:
            return ("collected_at", "since_at", "fell", *(name for name in names[1:] if name not in {"epoch", "gone"}))
        return tuple(names)

    @property
    def relation_key(self) -> str | None:
        """The key column that is the oid of a relation."""
        found = {"relid", "indexrelid"}.intersection(self.metric.key)
        return found.pop() if found else None


def ask(
    target_id: int,
    metric: str,
    values: Values,
    from_at: datetime | None,
    until_at: datetime | None,
    now: datetime,
    datid: int | None = None,
    relid: int | None = None,
) -> Asked:
    """What is asked for, checked; the last hour unless told otherwise.

    Raises:
        AskedError: naming the parameter and what is expected.
    """
    found = CATALOGUE.get(metric)
    if found is None:
        nearest = difflib.get_close_matches(metric, CATALOGUE, n=1, cutoff=0)[0]
        raise AskedError(f"metric: {metric[:100]!r} is unknown; the nearest is {nearest!r}")
    if values is Values.DELTA and not found.counters:
        raise AskedError(f"values: {metric} has no counters, so no deltas; ask for raw")
    until_at = until_at or now
    if not all(_EARLIEST <= each <= _LATEST for each in (from_at, until_at) if each):
        raise AskedError("from, until: between the years 1970 and 9998")
    from_at = from_at or until_at - WINDOW
    if from_at > until_at:
        raise AskedError("from: after until")
    if until_at - from_at > MAX_WINDOW:
        raise AskedError(f"from, until: more than {MAX_WINDOW.days} days apart; ask for one stretch after another")
    asked = Asked(target_id, found, values, from_at, until_at, datid, relid)
    if datid is not None and "datid" not in asked.columns:
        raise AskedError(f"datid: {metric} has no such column")
    if relid is not None and asked.relation_key is None:
        raise AskedError(f"relid: {metric} is not about relations")
    return asked
