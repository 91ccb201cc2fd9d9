"""How long the store keeps what: the loader leaves out what is older, maintenance drops it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from contracts.metrics import CATALOGUE
from functions.environment import Environment

_MOST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that are kept: of every table, of those metrics that are kept for another time, and of rollups."""

    keep_days: int
    by_metric: Mapping[str, int] = field(default_factory=dict)
    rollups: int = 400

    def of(self, metric: str) -> int:
        """Days that a metric is kept."""
        return self.by_metric.get(metric, self.keep_days)

    @property
    def longest(self) -> int:
        """Days that any metric is kept; so long stands when each was read, for differences need it."""
        return max(self.of(metric) for metric in CATALOGUE)

    def of_table(self, table: str) -> int:
        """Days that a partitioned table is kept, such as `metric.table_stats` or `store.runs`."""
        schema, _, name = table.partition(".")
        if schema == "metric":
            return self.of(name)
        if schema == "rollup":
            return self.rollups
        return self.longest if table == "store.frames" else self.keep_days


def oldest_day(now: datetime, keep_days: int) -> date:
    """The first day that is kept: the loader takes what was collected at this very instant of it, or later."""
    return (now - timedelta(days=keep_days)).date()


def _by_metric(text: object) -> object:
    if not isinstance(text, str):
        return text
    days: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (each.strip() for each in part.partition("="))
        if name not in CATALOGUE:
            nearest = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0)[0]
            raise ValueError(f"{name!r} is no metric; did you mean {nearest!r}?")
        if name in days:
            raise ValueError(f"{name} stands there twice; keep one")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= _MOST_DAYS:
            raise ValueError(f"{name}: {number!r} is not a number of days from 1 to {_MOST_DAYS}")
        days[name] = int(number)
    return days


class RetentionEnvironment(Environment):
    """The settings of the retention; `PGANALYTICS_KEEP_DAYS_BY_METRIC` is written as `statement_text=90,activity=7`."""

    keep_days: int = Field(default=30, ge=1, le=_MOST_DAYS)
    keep_days_by_metric: Annotated[dict[str, int], BeforeValidator(_by_metric)] = Field(default_factory=dict)

    @property
    def retention(self) -> Retention:
        return Retention(self.keep_days, self.keep_days_by_metric)
