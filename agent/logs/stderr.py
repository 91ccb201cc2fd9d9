"""Parses the stderr form, whose entries are several lines, between which other processes may write."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from agent.logs.clock import LogClock
from agent.logs.entry import TEXT_LIMIT, Written
from agent.logs.literals import CUT
from agent.logs.parser import Dialect, Line
from agent.logs.prefix import ANY_LABEL, ANY_PREFIX, HEAD, SECONDARY, line_pattern

# An entry is written at once, in pieces of a pipe's buffer: after so many others nothing more comes.
_WINDOW = 32
_AT_CHARACTER = re.compile(r" at character [0-9]+\Z")


@dataclass(slots=True)
class _Open:
    position: int
    values: dict[str, str] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    label: str = ""
    size: int = 0
    closed: bool = False

    def begin(self, label: str, text: str) -> None:
        self.label = label
        self.texts[label] = []
        self.size = 0
        self.add(text)

    def add(self, text: str) -> None:
        # Nothing comes after the mark of a cut: by its end a text tells that it was cut.
        if self.size > TEXT_LIMIT:
            return
        self.size += len(text) + 1
        self.texts[self.label].append(text if self.size <= TEXT_LIMIT else text[:TEXT_LIMIT] + CUT)

    def text(self, label: str) -> str | None:
        return "\n".join(self.texts[label]) if label in self.texts else None


class StderrParser:
    """Puts DETAIL and the like to the entry of the same process, and lines without a prefix to the last line."""

    def __init__(self, dialect: Dialect) -> None:
        self._clock = dialect.clock
        self._pattern = line_pattern(dialect.log_line_prefix)
        self._entries: deque[_Open] = deque()
        self._of_process: dict[str, _Open] = {}
        self._last: _Open | None = None

    def feed(self, line: Line) -> None:
        text = line.text
        head = None
        if not text.startswith("\t") and ANY_LABEL.search(text, 0, HEAD):
            head = self._pattern.match(text, 0, HEAD) or ANY_PREFIX.match(text, 0, HEAD)
        if head is None:
            self._continue(line.position, text.removeprefix("\t"))
            return
        values = {name: value for name, value in head.groupdict().items() if value}
        process = values.get("c") or values.get("p") or ""
        label = values.get("label", "")
        if label in SECONDARY:
            # Without its entry the line belongs to one that was taken: it goes nowhere, and so do those after it.
            self._last = self._of_process.get(process) or _Open(line.position)
            self._last.begin(label, text[head.end() :])
        else:
            self._begin(_Open(line.position, values), process, text[head.end() :])

    def _begin(self, entry: _Open, process: str, text: str) -> None:
        if process in self._of_process:
            self._of_process[process].closed = True
        entry.begin("", text)
        self._of_process[process] = self._last = entry
        self._entries.append(entry)
        if len(self._entries) > _WINDOW:
            for old in list(self._entries)[:-_WINDOW]:
                old.closed = True

    def _continue(self, position: int, text: str) -> None:
        if self._last is None:
            self._last = _Open(position, closed=True)
            self._last.begin("", "")
            self._entries.append(self._last)
        self._last.add(text)

    def take(self) -> Written | None:
        if not self._entries or not self._entries[0].closed:
            return None
        entry = self._entries.popleft()
        for process in [process for process, owner in self._of_process.items() if owner is entry]:
            del self._of_process[process]
        return _written(entry, self._clock)

    def rest(self, *, over: bool) -> None:  # noqa: ARG002  (entries here have no end to wait for)
        for entry in self._entries:
            entry.closed = True

    def kept_from(self) -> int | None:
        return self._entries[0].position if self._entries else None


def _written(entry: _Open, clock: LogClock) -> Written:
    values = entry.values
    if not values:
        return Written(entry.position)
    return Written(
        entry.position,
        logged_at_us=_logged_at_us(values, clock),
        severity=values.get("label"),
        sqlstate=values.get("e") or values.get("code"),
        pid=_pid(values),
        database_name=values.get("d", "").strip(),
        user_name=values.get("u", "").strip(),
        application_name=values.get("a", "").strip(),
        backend_type=values.get("b", "").strip(),
        query_id=int(values.get("Q", "0")),
        # The other forms have the place in a column of its own.
        message=_AT_CHARACTER.sub("", entry.text("") or ""),
        detail=entry.text("DETAIL"),
        hint=entry.text("HINT"),
        context=entry.text("CONTEXT"),
        statement=entry.text("STATEMENT"),
        internal_query=entry.text("QUERY"),
    )


def _logged_at_us(values: dict[str, str], clock: LogClock) -> int | None:
    if "n" in values:
        return int(values["n"].replace(".", "")) * 1000
    return clock.instant_us(values.get("m") or values.get("t"))


def _pid(values: dict[str, str]) -> int | None:
    if "p" in values:
        return int(values["p"])
    # %c is the start of the process and its pid, both in hexadecimal.
    return int(values["c"].partition(".")[2], 16) if "c" in values else None
