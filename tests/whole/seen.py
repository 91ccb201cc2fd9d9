"""What could betray a secret: all that a run writes, stores, sends, and shows in its processes' command lines."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
        shown = {place: text for place, text in self.texts.items() if not place.startswith("store:")}
        return found + [
            f"{name} in {place}"
            for place, text in shown.items()
            for name, shape in SHAPES.items()
            if shape.search(text)
        ]


@contextmanager
def watching_command_lines(seen: Seen, folder: Path) -> Iterator[None]:
    """Look again and again at the command lines and environments' sizes of all processes that name the folder."""
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
