"""Parses the jsonlog form: one object a line.

Source: https://www.postgresql.org/docs/current/runtime-config-logging.html#RUNTIME-CONFIG-LOGGING-JSONLOG
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping

from agent.logs.clock import LogClock
from agent.logs.entry import Written
from agent.logs.literals import CUT
from agent.logs.parser import Dialect, Line


class JsonParser:
    """Every line is an entry."""

    def __init__(self, dialect: Dialect) -> None:
        self._clock = dialect.clock
        self._lines: deque[Line] = deque()

    def feed(self, line: Line) -> None:
        if line.text.strip():
            self._lines.append(line)

    def take(self) -> Written | None:
        if not self._lines:
            return None
        line = self._lines.popleft()
        values = _values(line)
        return Written(line.position) if values is None else _written(line.position, values, self._clock)

    def rest(self, *, over: bool) -> None:
        """Lines are complete as they come."""

    def kept_from(self) -> int | None:
        return self._lines[0].position if self._lines else None


def _values(line: Line) -> Mapping[str, object] | None:
    # A line that was cut ends in a string, perhaps within an escape of up to twelve characters (two surrogates).
    ends = [line.text, *(line.text[: len(line.text) - n] + CUT + '"}' for n in range(13) if line.cut)]
    for text in ends:
        try:
            values = json.loads(text, strict=False)
        except ValueError:
            continue
        return values if isinstance(values, dict) else None
    return None


def _written(position: int, values: Mapping[str, object], clock: LogClock) -> Written:
    def text(key: str) -> str | None:
        value = values.get(key)
        return value if isinstance(value, str) else None

    def number(key: str) -> int | None:
        value = values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    return Written(
        position,
        logged_at_us=clock.instant_us(text("timestamp")),
        severity=text("error_severity"),
        # The server leaves the key out where the other forms say 00000.
        sqlstate=text("state_code") or "00000",
        pid=number("pid"),
        database_name=text("dbname"),
        user_name=text("user"),
        application_name=text("application_name"),
        backend_type=text("backend_type"),
        query_id=number("query_id"),
        message=text("message"),
        detail=text("detail"),
        hint=text("hint"),
        context=text("context"),
        statement=text("statement"),
        internal_query=text("internal_query"),
    )
