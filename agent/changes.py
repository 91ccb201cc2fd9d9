"""Remembers what was sent last, so that a frame has only the rows that changed since.

Counters make that exact: a row that is absent is a row that did not change. Readings are compared as sets of lines, and
only lines that differ become values: not even the keys of the others are looked at. Between two readings the lines lie
compressed: they are of a kind, and there may be a hundred thousand of them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from isal import isal_zlib

from agent.lines import columns_of, key_of, keys_of
from contracts.batch import Columns, Mode
from contracts.metrics import Metric


@dataclass(frozen=True, slots=True)
class Difference:
    """What a frame needs to say: all rows, or those that changed and the keys that are gone."""

    mode: Mode
    columns: Columns
    gone: Columns | None
    rows: int


@dataclass(slots=True)
class _Last:
    epoch: int | None
    full_at: float
    packed: bytes


@dataclass
class Changes:
    """The last reading of each metric, target and database."""

    full_every_seconds: float = 3600
    _last: dict[tuple[str, str, int | None], _Last] = field(default_factory=dict)
    _forgotten: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """After lost data: every metric's next frame is full."""
        with self._lock:
            self._last.clear()
            self._forgotten += 1

    @property
    def forgotten(self) -> int:
        """How often data was lost so far."""
        with self._lock:
            return self._forgotten

    def last(self, metric: Metric, target: str, datid: int | None = None) -> list[bytes]:
        """The lines of the last reading, in its order; none where there was none since the start or since data was
        lost.
        """
        with self._lock:
            last = self._last.get((metric.name, target, datid))
        return _unpacked(last.packed) if last is not None else []

    def difference(
        self, metric: Metric, target: str, datid: int | None, lines: Sequence[bytes], epoch: int | None, now: float
    ) -> Difference:
        """What changed since the reading before; all of it at the start, once an hour and after an epoch change.

        Args:
            lines: the reading, each line beginning with its key.
            epoch: the epoch of its counters.
            now: a monotonic clock, in seconds.
        """
        if not metric.changes:
            return Difference(Mode.FULL, columns_of(metric, lines), None, len(lines))
        place = (metric.name, target, datid)
        current = dict.fromkeys(lines)
        with self._lock:
            last = self._last.get(place)
            forgotten = self._forgotten
        if last is None or last.epoch != epoch or now - last.full_at >= self.full_every_seconds:
            difference = Difference(Mode.FULL, columns_of(metric, lines), None, len(lines))
            full_at = now
        else:
            cut, before = key_of(metric), dict.fromkeys(_unpacked(last.packed))
            changed = [line for line in current if line not in before]
            still_there = set(map(cut, changed))
            gone = [key for key in map(cut, before.keys() - current.keys()) if key not in still_there]
            difference = Difference(
                Mode.CHANGED, columns_of(metric, changed), keys_of(metric, sorted(gone)) if gone else None, len(lines)
            )
            full_at = last.full_at
        # Only now: what could not be made into a frame was not said.
        kept = _Last(epoch, full_at, isal_zlib.compress(b"\n".join(current), 1))
        with self._lock:
            if forgotten == self._forgotten:
                self._last[place] = kept
        return difference


def _unpacked(packed: bytes) -> list[bytes]:
    lines: bytes = isal_zlib.decompress(packed)
    return lines.split(b"\n") if lines else []
