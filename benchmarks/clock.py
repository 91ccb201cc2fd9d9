"""How long a piece of work takes: on the clock, of the processor here, and of the store's processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from functions.store import Store


@dataclass(frozen=True)
class Took:
    """Milliseconds of one piece of work: on the clock, of the processor in this process, and in the store's session."""

    wall_ms: float
    own_ms: float
    store_ms: float = 0.0


@dataclass(frozen=True)
class Clock:
    """Measures work of this process and, where there is one, of its session with the store."""

    backend: int | None = None

    @classmethod
    def of(cls, store: Store) -> Clock:
        """With this thread's session, which has to outlive what is measured."""
        with store.transaction() as connection:
            return cls(connection.info.backend_pid)

    def took(self, times: float, work: Callable[[], object]) -> Took:
        """What one of the so many pieces takes that the work consists of."""
        store, own, begun = self._store_seconds(), time.process_time(), time.perf_counter()
        work()
        wall, own = time.perf_counter() - begun, time.process_time() - own
        return Took(*(each / times * 1000 for each in (wall, own, self._store_seconds() - store)))

    def _store_seconds(self) -> float:
        # In nanoseconds, where the times of /proc/PID/stat are in hundredths of a second.
        return int(Path(f"/proc/{self.backend}/schedstat").read_text().split()[0]) / 1e9 if self.backend else 0.0
