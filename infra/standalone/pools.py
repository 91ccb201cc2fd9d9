"""Threads for the functions: each has its own, so that what one of them waits for keeps no other from its work.

A store that hangs holds what asks the store; a flood of logins holds what hashes passwords; batches go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from contracts.routes import Route
from infra.standalone.limits import BusyError

T = TypeVar("T")

AUTHORIZER, PASSWORDS = "authorizer", "passwords"


@dataclass(frozen=True)
class Size:
    """Threads, each of which keeps one connection to the store, and calls in hand or waiting."""

    threads: int
    calls: int


SIZES: dict[str, Size] = {
    AUTHORIZER: Size(4, 400),
    "ingest": Size(16, 200),
    "config": Size(4, 200),
    "query": Size(8, 100),
    "identity": Size(8, 200),
    PASSWORDS: Size(4, 40),  # two of them hash at one time
}

_PASSWORDS = ("/v1/auth/login", "/v1/auth/password", "/v1/users")


class Pool:
    """Threads that take calls, so many at a time. To be called from one event loop."""

    def __init__(self, name: str, size: Size) -> None:
        self._name = name
        self._calls = size.calls
        self._in_hand = 0
        self._executor = ThreadPoolExecutor(size.threads, thread_name_prefix=name)

    async def run(self, call: Callable[[], T]) -> T:
        """What the call returns.

        Raises:
            BusyError: too many are in hand.
        """
        if self._in_hand >= self._calls:
            raise BusyError(f"too many calls of {self._name} at a time")
        self._in_hand += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        finally:
            self._in_hand -= 1

    def close(self) -> None:
        """Take no more, and wait for what is in hand."""
        self._executor.shutdown(cancel_futures=True)


class Pools:
    """One for the authorizer, one for each function, and one for what hashes passwords."""

    def __init__(self, sizes: dict[str, Size] | None = None) -> None:
        self._pools = {name: Pool(name, size) for name, size in (sizes or SIZES).items()}

    @property
    def authorizer(self) -> Pool:
        return self._pools[AUTHORIZER]

    def of(self, route: Route) -> Pool:
        """The pool that a route's function runs in."""
        return self._pools[PASSWORDS if _hashes(route) else route.function]

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def _hashes(route: Route) -> bool:
    return route.path.startswith(_PASSWORDS) and route.method != "GET"
