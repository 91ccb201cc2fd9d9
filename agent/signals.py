"""Waits for signals, whichever thread of the process the kernel gives them to."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable


class Signals:
    """Takes these signals from now on, in the main thread; none of them ends the process by itself any more.

    Python's own handlers run when the main thread next does, which a wait for a lock puts off where another thread got
    the signal; and a `sigwait` was seen to let a SIGTERM end the process. What C writes into the socket wakes the
    reader, whoever got the signal.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.settimeout(0)
        signal.set_wakeup_fd(self._writer.fileno())
        self._numbers = frozenset(numbers)
        for number in self._numbers:
            signal.signal(number, lambda _number, _frame: None)

    def wait(self, seconds: float | None = None) -> signal.Signals | None:
        """The next signal that came, in their order; None where none came in this time."""
        self._reader.settimeout(seconds)
        while True:
            try:
                number = self._reader.recv(1)[0]
            except TimeoutError:
                return None
            if number in self._numbers:
                return signal.Signals(number)
