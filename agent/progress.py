"""Knows whether the agent's parts get on with their work, and tells systemd, which restarts one that does not."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


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

    def stuck(self) -> list[str]:
        """The parts that were to be heard of by now."""
        with self._lock:
            return sorted(part for part, until in self._until.items() if until < self._now())


def watchdog_seconds() -> float | None:
    """How long systemd waits for a sign of life (sd_watchdog_enabled(3)); None where it does not watch."""
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or process not in {"", str(os.getpid())}:
        return None
    return int(microseconds) / 1_000_000 or None


def tell_systemd(state: str) -> None:
    """Tell systemd this, such as `READY=1` (sd_notify(3)); nothing where it does not run the agent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            # @ stands for the NUL of the abstract name space.
            door.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("systemd cannot be told %s: %s", state, error.strerror)
