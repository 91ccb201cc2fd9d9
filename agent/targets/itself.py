"""The agent as a target of its own: it reads itself also where it does not read its host."""

from __future__ import annotations

import os
from functools import partial

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Collector, Own
from agent.collectors.health import Health
from agent.outbox import Outbox
from agent.targets.host import columns
from agent.targets.recording import Outcome, record
from contracts.batch import Frame
from contracts.document import Document
from contracts.names import HOST_TARGET


class AgentTarget:
    """Reads what the agent costs. Its facts belong to the host that it runs on, so they need no target more."""

    name = HOST_TARGET

    def __init__(self, outbox: Outbox, health: Health) -> None:
        self._outbox = outbox
        self._health = health
        # Random: the number of a process comes again, and the clock that says when it started may be set back.
        self._epoch = int.from_bytes(os.urandom(8), signed=True)

    def collectors(self) -> tuple[Collector, ...]:
        return tuple(collector for collector in COLLECTORS if isinstance(collector, Own))

    def lane(self, collector: Collector) -> str:  # noqa: ARG002 - one for all of them
        """The thread that the collector runs on: not the host's, whose readings may hang."""
        return "agent"

    def apply(self, document: Document) -> None:
        """Nothing of a document concerns how the agent is read."""

    def collect(self, collector: Collector) -> None:
        """Execute one collector."""
        if isinstance(collector, Own):
            record(self._outbox, collector.metric, self.name, None, partial(self._work, collector))

    def close(self) -> None:
        """Nothing stays open between readings."""

    def _work(self, collector: Own, at: int) -> Outcome:
        rows = collector.read(self._health)
        frame = Frame(
            metric=collector.metric.name,
            target=self.name,
            collected_at=at,
            epoch=self._epoch,
            columns=columns(collector.metric, rows),
        )
        return Outcome(len(rows), frame)
