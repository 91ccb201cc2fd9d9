"""What every form of the log is parsed into, line by line."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.logs.clock import LogClock
from agent.logs.entry import Written


class Form(enum.StrEnum):
    """The forms of the log, the best first."""

    JSON = "json"
    CSV = "csv"
    STDERR = "stderr"


# logrotate appends a number or a date: postgresql.json.1, postgresql.log-20260131
_NAME = re.compile(r"(?P<stem>.+?)(?:\.(?P<form>csv|json|log))?(?P<turn>[.-][0-9][0-9.-]*)?")


def form_of(path: Path) -> tuple[Form, str]:
    """The form of a log file by its name, and the name that the forms of one log have in common."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        return Form.STDERR, str(path)
    form = {"csv": Form.CSV, "json": Form.JSON}.get(name["form"] or "", Form.STDERR)
    return form, str(path.with_name(name["stem"] + (name["turn"] or "")))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file without its end; `cut` where it was longer than may be held."""

    position: int
    end: int
    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """The server's settings that decide how its log is read."""

    log_line_prefix: str = "%m [%p] "
    lc_messages: str = "C"
    clock: LogClock = field(default_factory=LogClock)

    @property
    def english(self) -> bool:
        return self.lc_messages.lower().startswith(("en", "c.", "posix")) or self.lc_messages == "C"


class Parser(Protocol):
    """Takes lines, gives entries in the order in which they begin."""

    def feed(self, line: Line) -> None: ...

    def take(self) -> Written | None:
        """The next entry, if it is complete."""

    def rest(self, *, over: bool) -> None:
        """The file does not grow; `over`, as another one is written since."""

    def kept_from(self) -> int | None:
        """Where the first entry begins that was not taken."""


ParserFactory = Callable[[Dialect], Parser]
