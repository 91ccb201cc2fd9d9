"""What a session asked of its server, and how long the answers took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Cost:
    """Counted since the session was made. The session's thread counts; others may read meanwhile."""

    connections: int = 0
    queries: int = 0
    errors: int = 0
    time_ns: int = 0

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """A connection is made. Its time is not counted: nobody works while a server that is away is waited for."""
        try:
            yield
        except BaseException:
            self.errors += 1
            raise
        self.connections += 1

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A query is asked."""
        began = time.perf_counter_ns()
        try:
            yield
        except BaseException:
            self.errors += 1
            raise
        finally:
            self.queries += 1
            self.time_ns += time.perf_counter_ns() - began

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.connections + other.connections,
            self.queries + other.queries,
            self.errors + other.errors,
            self.time_ns + other.time_ns,
        )
