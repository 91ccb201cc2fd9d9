"""What the agent may take of its host and its targets: over that it leaves metrics out, in a declared order.

Measured once a period, a minute or what a batch takes if that is longer, and judged by five periods together: one
expensive reading is no reason, a costly average is. Each judgement leaves one metric more out, or takes one back, the
one that was left out last.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field

from agent.collectors.health import Health
from contracts.document import Document

log = logging.getLogger(__name__)

#: What is left out, the first one first: what costs much and is missed least. What is not named here, never is.
ORDER: tuple[str, ...] = (
    "bloat",
    "function_stats",
    "relation_size",
    "sequence",
    "tablespace_size",
    "wal_files",
    "statement_text",
    "index_stats",
    "lock_mode",
    "progress",
    "statement_stats",
    "table_stats",
)

_PERIOD_SECONDS = 60.0
_PERIODS = 5

#: Something is taken back when less than this part of the bound is taken, so that it does not come and go.
_EASE = 0.7


@dataclass(slots=True)
class _Bound:
    """One bound on what is spent; `unit` is how much of what is counted makes up one of what is bounded in a second."""

    name: str
    unit: float
    most: float | None = None
    left_out: list[str] = field(default_factory=list)
    exceeded: float = 0.0
    _counts: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_PERIODS + 1))

    def apply(self, most: float | None, order: tuple[str, ...]) -> None:
        """Bound by this from now on. Where it is more than before, all is read again and judged by that."""
        if most is None or (self.most is not None and most > self.most):
            self.left_out.clear()
            self._counts.clear()
        self.most = most
        self.left_out = [metric for metric in self.left_out if metric in order]

    def measure(self, now: float, count: int, order: tuple[str, ...]) -> None:
        """Judge, once there are periods enough since the last judgement that changed something."""
        self._counts.append((now, count))
        if self.most is None or len(self._counts) <= _PERIODS:
            return
        since, before = self._counts[0]
        taken = (count - before) / self.unit / (now - since)
        more = [metric for metric in order if metric not in self.left_out]
        if taken > self.most and more:
            self.exceeded = taken
            self.left_out.append(more[0])
            log.warning("%s", self.why)
        elif taken < self.most * _EASE and self.left_out:
            metric = self.left_out.pop()
            log.info("%s is kept: %s is read again", self.name, metric)
        else:
            return
        # What comes now is judged by itself.
        self._counts.clear()
        self._counts.append((now, count))

    @property
    def why(self) -> str:
        taken, most = _figure(self.exceeded), _figure(self.most or 0)
        return f"{self.name} was exceeded: {taken}, of {most} allowed; left out: {', '.join(self.left_out)}"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Budget:
    """Decides what is left out. Threads may share it; the clock is any that does not go back, in seconds."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._lock = threading.Lock()
        self._cpu = _Bound("budget.cpu_share", unit=1_000_000)
        self._upload = _Bound("budget.upload_bytes_per_hour", unit=1 / 3600)
        self._databases = {
            target: _Bound(f"budget.database_share of {target}", unit=1_000_000) for target in health.query_time_us()
        }
        self._measured_at = float("-inf")
        self._period = _PERIOD_SECONDS
        self._order: tuple[str, ...] = ()

    def apply(self, document: Document) -> None:
        """Keep the bounds of this document from now on."""
        collected, budget = document.intervals(), document.budget
        with self._lock:
            self._order = tuple(metric for metric in ORDER if metric in collected)
            # A period without a batch would say nothing of the bytes, and the next one too much.
            self._period = max(_PERIOD_SECONDS, document.upload_every_seconds)
            self._cpu.apply(budget.cpu_share, self._order)
            self._upload.apply(budget.upload_bytes_per_hour, self._order)
            for bound in self._databases.values():
                bound.apply(budget.database_share, self._order)

    def refusal(self, metric: str, target: str, now: float) -> str | None:
        """Why the metric is not read from the target; None where it is. Measures first, if a period is over."""
        with self._lock:
            if now - self._measured_at >= self._period:
                self._measured_at = now
                self._measure(now)
            bounds = (self._cpu, self._upload, self._databases.get(target))
            return next((bound.why for bound in bounds if bound and metric in bound.left_out), None)

    def _measure(self, now: float) -> None:
        self._cpu.measure(now, self._health.cpu_us(), self._order)
        # Bytes spooled, not sent: what waited for the server while it was away is not what is collected now.
        self._upload.measure(now, self._health.spooled_bytes(), self._order)
        for target, time_us in self._health.query_time_us().items():
            self._databases[target].measure(now, time_us, self._order)
