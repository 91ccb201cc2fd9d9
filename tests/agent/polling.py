"""Waits for a condition with a deadline, as generous as a noisy machine needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once the condition holds; fail where it does not in time."""
    deadline = monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.01)
