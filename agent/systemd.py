"""Tells systemd how a service is, the agent or the standalone server; where systemd does not run it, nobody is told."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def watchdog_seconds() -> float | None:
    """How long systemd waits for a sign of life (sd_watchdog_enabled(3)); None where it does not watch."""
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or process not in {"", str(os.getpid())}:
        return None
    return int(microseconds) / 1_000_000 or None


def tell_systemd(state: str) -> None:
    """Tell systemd this, such as `READY=1` (sd_notify(3)); nothing where it does not run this process."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            # @ stands for the NUL of the abstract name space.
            door.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("systemd cannot be told %s: %s", state, error.strerror)
