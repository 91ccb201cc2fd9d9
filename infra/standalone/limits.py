"""How much one caller, one address and all of them together may ask of the server; every table here has a bound."""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: A bucket holds what comes in so many seconds: what may be asked at once.
BURST_SECONDS = 10

#: Callers or addresses that are remembered; a bucket of more than these is forgotten, and begins full.
MAX_BUCKETS = 50_000


@dataclass(frozen=True)
class Limits:
    """What the server bears. Rates are requests in a second, of which a burst of ten seconds may come at once.

    A rate of 0 is no limit. `head_seconds` is the time for TLS's handshake and a request's head together, and for a
    body that is no batch; `answer_seconds` the time in which what was answered must have been read.
    """

    agent_rate: float = 20
    address_rate: float = 50
    connections: int = 10_000
    address_connections: int = 1_000
    uploads: int = 200
    agent_uploads: int = 10
    head_seconds: float = 20
    body_seconds: float = 110  # 4 MB at 300 kbit/s
    answer_seconds: float = 30
    idle_seconds: float = 75  # an agent that sends every minute keeps its connection


DEFAULTS = Limits()


class BusyError(Exception):
    """All places are taken; `of_one`: those of this one caller."""

    def __init__(self, message: str, *, of_one: bool = False) -> None:
        super().__init__(message)
        self.of_one = of_one


class Buckets:
    """A token bucket for each caller, of whom the last seen are remembered. Not for more than one thread."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic, most: int = MAX_BUCKETS) -> None:
        self._rate = rate
        self._burst = max(1, rate * BURST_SECONDS)
        self._clock = clock
        self._most = most
        self._found: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def take(self, caller: Hashable) -> int:
        """Count one request: 0, it may pass; else the whole seconds after which one may."""
        if not self._rate:
            return 0
        now = self._clock()
        tokens, at = self._found.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        passes = tokens >= 1
        self._found[caller] = (tokens - 1 if passes else tokens, now)
        if len(self._found) > self._most:
            self._found.popitem(last=False)
        return 0 if passes else max(1, math.ceil((1 - tokens) / self._rate))


class Places:
    """So many at one time, in all and of one caller. Not for more than one thread."""

    def __init__(self, in_all: int, of_one: int) -> None:
        self._in_all = in_all
        self._of_one = of_one
        self._taken: Counter[Hashable] = Counter()
        self._total = 0

    def enter(self, caller: Hashable) -> None:
        """Take a place.

        Raises:
            BusyError: there is none.
        """
        if self._taken[caller] >= self._of_one:
            raise BusyError(f"more than {self._of_one} at a time from one caller", of_one=True)
        if self._total >= self._in_all:
            raise BusyError("too many at a time")
        self._taken[caller] += 1
        self._total += 1

    def leave(self, caller: Hashable) -> None:
        self._total -= 1
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]

    @contextmanager
    def place(self, caller: Hashable) -> Iterator[None]:
        """A place, given back at the end.

        Raises:
            BusyError: there is none.
        """
        self.enter(caller)
        try:
            yield
        finally:
            self.leave(caller)
