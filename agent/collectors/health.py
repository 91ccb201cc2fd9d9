"""The agent itself: what its process takes, what its targets are asked, and how its delivery goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from agent.collectors.values import Rows, Value
from agent.outbox import Outbox
from agent.postgres.cost import Cost
from agent.sender import Sender
from agent.spool import Spool
from contracts.batch import Status

#: The outcomes of runs, in the order of AGENT_TARGET's columns.
_STATUSES = (
    Status.OK,
    Status.EMPTY,
    Status.PERMISSION,
    Status.UNSUPPORTED,
    Status.TIMEOUT,
    Status.LOCKED,
    Status.TRUNCATED,
    Status.SKIPPED,
    Status.MISSED,
    Status.ERROR,
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A target and what its server was asked so far; `cost` answers None where there is no server."""

    name: str
    cost: Callable[[], Cost | None]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The way out: where batches wait, who sends them, and how far this clock is ahead of the server's."""

    spool: Spool
    sender: Sender
    skew_us: Callable[[], int | None]


class Health:
    """Knows where the figures are; without a delivery its figures are not known."""

    def __init__(self, outbox: Outbox, watched: Iterable[Watched], delivery: Delivery | None = None) -> None:
        self._outbox = outbox
        self._watched = tuple(watched)
        self._delivery = delivery
        self._process = psutil.Process()

    def agent(self) -> Rows:
        """The row of AGENT_HEALTH."""
        with self._process.oneshot():
            process = (
                round(self._process.create_time() * 1_000_000),
                self.cpu_us(),
                self._process.memory_info().rss,
                self._process.num_threads(),
                self._process.num_fds(),
            )
        return [(*process, *self._delivered())]

    def targets(self) -> Rows:
        """The rows of AGENT_TARGET."""
        return [
            (
                each.name,
                *_asked(each.cost()),
                *(self._outbox.ended(each.name, status) for status in _STATUSES),
            )
            for each in self._watched
        ]

    def cpu_us(self) -> int:
        """Processor time of all threads since the process started."""
        return time.process_time_ns() // 1000

    def spooled_bytes(self) -> int:
        """What went into the spool so far; 0 without one."""
        return self._delivery.spool.passed.spooled_bytes if self._delivery else 0

    def query_time_us(self) -> dict[str, int]:
        """Time in queries so far, of each target that is asked any."""
        costs = {each.name: each.cost() for each in self._watched}
        return {name: cost.time_ns // 1000 for name, cost in costs.items() if cost is not None}

    def _delivered(self) -> tuple[Value, ...]:
        if self._delivery is None:
            return (None,) * 14
        spool, uploads = self._delivery.spool, self._delivery.sender.uploads
        waiting, passed = spool.entries(), spool.passed
        return (
            len(waiting),
            sum(entry.size_bytes for entry in waiting),
            # Not below 0: the clock may have been set back since.
            max(0, time.time_ns() // 1000 - waiting[0].closed_at) if waiting else None,
            spool.set_aside,
            passed.spooled_bytes,
            passed.dropped_batches,
            passed.dropped_bytes,
            uploads.accepted,
            uploads.duplicate,
            uploads.later,
            uploads.rejected,
            uploads.failed,
            uploads.sent_bytes,
            self._delivery.skew_us(),
        )


def _asked(cost: Cost | None) -> tuple[Value, ...]:
    if cost is None:
        return (None,) * 4
    return cost.connections, cost.queries, cost.errors, cost.time_ns // 1000
