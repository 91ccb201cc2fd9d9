"""Knows whether the agent's parts get on with their work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Progress:
    """Each part says how long it may be until it is heard of again; who is not is stuck."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def within(self, part: str, seconds: float) -> None:
        """The part works, and is heard of again within this time."""
        with self._lock:
            self._until[part] = self._now() + seconds

    def rests(self, part: str) -> None:
        """The part has nothing to do, and nobody waits to hear of it."""
        with self._lock:
            self._until.pop(part, None)

    def stuck(self) -> list[str]:
        """The parts that were to be heard of by now."""
        with self._lock:
            return sorted(part for part, until in self._until.items() if until < self._now())
