"""What could betray a secret: all that a run writes, stores, sends, and shows in its processes' command lines."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

#: What no log, error, run, batch or command line has, whoever's it is.
SHAPES = {
    "a JWT": re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "an enrolment token": re.compile(r"pge_[A-Za-z0-9_-]{43}"),
    "a refresh token": re.compile(r"pgr_[A-Za-z0-9_-]{43}"),
    "a private key": re.compile(r"PRIVATE KEY"),
}


@dataclass
class Seen:
    """Texts by where they were seen, and the secrets that were planted, by their names."""

    texts: dict[str, str] = field(default_factory=dict)
    planted: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        self.texts[place] = self.texts.get(place, "") + text

    def betrayed(self) -> list[str]:
        """Which secret was seen where; none of them is repeated."""
        found = [
            f"{name} in {place}"
            for place, text in self.texts.items()
            for name, secret in self.planted.items()
            if secret in text
        ]
        found += [
            f"{name} in {place}"
            for place, text in self.texts.items()
            for name, shape in SHAPES.items()
            if shape.search(text)
        ]
        return found


@contextmanager
def watching_command_lines(seen: Seen) -> Iterator[None]:
    """Look again and again at the command lines of all processes."""
    ended = threading.Event()

    def look() -> None:
        known: set[str] = set()
        while not ended.wait(0.01):
            for process in psutil.process_iter():
                try:
                    line = " ".join(process.cmdline())
                except psutil.Error:
                    continue
                if line not in known:
                    known.add(line)
                    seen.add("command lines", line + "\n")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()
