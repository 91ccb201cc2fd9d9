"""The host that the agent runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Collector, HostReading, Read
from agent.collectors.host import boot_epoch
from agent.collectors.values import Rows
from agent.outbox import Outbox
from agent.targets.recording import Outcome, record
from contracts.batch import Columns, Frame
from contracts.document import Document
from contracts.metrics import Metric
from contracts.names import HOST_TARGET


class HostTarget:
    """Reads the host's metrics. A reading that hangs holds up the other readings of the host only."""

    name = HOST_TARGET

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._reads: dict[str, Callable[[], HostReading]] = {
            collector.metric.name: collector.open() for collector in COLLECTORS if isinstance(collector, Read)
        }

    def collectors(self) -> tuple[Collector, ...]:
        return tuple(collector for collector in COLLECTORS if isinstance(collector, Read))

    def lane(self, collector: Collector) -> str:  # noqa: ARG002 - one for all of them
        """The thread that the collector runs on."""
        return self.name

    def apply(self, document: Document) -> None:
        """Nothing of a document concerns how the host is read."""

    def collect(self, collector: Collector) -> None:
        """Execute one collector."""
        record(self._outbox, collector.metric, self.name, None, lambda at: self._work(collector.metric, at))

    def close(self) -> None:
        """Nothing stays open between readings."""

    def _work(self, metric: Metric, at: int) -> Outcome:
        reading = self._reads[metric.name]()
        frame = Frame(
            metric=metric.name,
            target=self.name,
            collected_at=at,
            epoch=boot_epoch() if metric.counters else None,
            columns=columns(metric, reading.rows),
        )
        return Outcome(len(reading.rows), frame, reading.status, reading.detail)


def columns(metric: Metric, rows: Rows) -> Columns:
    """Rows as column arrays."""
    arrays: list[list[Any]] = [list(array) for array in zip(*rows, strict=True)] or [[] for _ in metric.columns]
    return dict(zip(metric.names, arrays, strict=True))
