"""The kinds of collector: a query on a server, a reading of the host, a log that is followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.collectors.values import Rows
from contracts.batch import Status
from contracts.metrics import Metric


@dataclass(frozen=True, slots=True)
class Query:
    """Reads a metric by the SQL of its name; once a server, or in each database, as the metric's scope says."""

    metric: Metric


@dataclass(frozen=True, slots=True)
class Follow:
    """Reads what was added to a server's log."""

    metric: Metric


@dataclass(frozen=True, slots=True)
class HostReading:
    """Rows read from the host. Where some could not be read, `status` and `detail` say why."""

    rows: Rows
    status: Status | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Reads a metric from the host; `open` makes the function that does, one for each agent."""

    metric: Metric
    open: Callable[[], Callable[[], HostReading]]


Collector = Query | Follow | Read
