"""What the spool does not send and does not throw away unseen: for somebody to read, within a bound."""

from __future__ import annotations

import json
import time
from pathlib import Path

from agent.durable import write
from contracts.batch import GapReason

#: Takes the place of `.gz` in the name of what stands beside a batch.
ANSWER = ".answer.json"

#: The part of the spool's bytes that it may take.
_PART = 10


class Aside:
    """A folder that keeps the newest of what is put there."""

    def __init__(self, folder: Path, spool_bytes: int, max_age_us: int) -> None:
        self.folder = folder
        self._max_bytes = spool_bytes // _PART
        self._max_age_us = max_age_us

    @property
    def batches(self) -> int:
        """How many there are, without the answers beside them."""
        return sum(1 for _ in self.folder.glob("*.json.gz"))

    def explain(self, path: Path, reason: GapReason, detail: str, status: int | None = None) -> None:
        """Write down why what comes here is not sent, and the status that the server answered with, if it did."""
        answered = {} if status is None else {"status": status}
        why = {"reason": str(reason), **answered, "detail": detail}
        write(self.folder / path.with_suffix(ANSWER).name, json.dumps(why, indent=2).encode())

    def take(self, *paths: Path) -> None:
        """Move these here, and throw away what is too much or too old then."""
        for path in paths:
            path.rename(self.folder / path.name)
        oldest_ns = time.time_ns() - self._max_age_us * 1000
        room = self._max_bytes
        files = [(path, path.stat()) for path in self.folder.iterdir()]
        for path, found in sorted(files, key=lambda each: each[1].st_mtime_ns, reverse=True):
            room -= found.st_size
            if room < 0 or found.st_mtime_ns < oldest_ns:
                path.unlink()
