"""Parses the csvlog form: records of 23 (to 12), 24 (13) or 26 columns (14 and later), fields over many lines.

Source: https://www.postgresql.org/docs/current/runtime-config-logging.html#RUNTIME-CONFIG-LOGGING-CSVLOG
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from agent.logs.clock import LogClock
from agent.logs.entry import Written
from agent.logs.literals import CUT
from agent.logs.parser import Dialect, Line

_COLUMNS = (
    *("log_time", "user_name", "database_name", "process_id", "connection_from", "session_id", "session_line_num"),
    *("command_tag", "session_start_time", "virtual_transaction_id", "transaction_id", "error_severity"),
    *("sql_state_code", "message", "detail", "hint", "internal_query", "internal_query_pos", "context", "query"),
    *("query_pos", "location", "application_name", "backend_type", "leader_pid", "query_id"),
)
_LEAST_COLUMNS = 23
_MESSAGE_COLUMN = _COLUMNS.index("message")
_RECORD_LIMIT = 1_048_576
_FIELD = re.compile(r'(?:\A|,)(?:"([^"]*(?:""[^"]*)*)(?:"|\Z)|([^,]*))')
_TEXT = r'(?:"[^"]*(?:""[^"]*)*")?'
# Time, user, database, pid, peer, session: a record begins here, whatever the one before it left open.
_BEGINS = re.compile(
    rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} [^,\"]+,{_TEXT},{_TEXT},\d+,{_TEXT},[0-9a-f]+\.[0-9a-f]+,\d+,"
)


@dataclass(slots=True)
class _Record:
    position: int
    lines: list[str] = field(default_factory=list)
    size: int = 0
    in_quotes: bool = False
    closed: bool = False
    cut: bool = False

    def add(self, line: Line) -> None:
        self.cut = self.cut or line.cut
        if self.size < _RECORD_LIMIT:
            self.lines.append(line.text)
            self.size += len(line.text) + 1
        else:
            self.cut = True
        self.in_quotes ^= bool(line.text.count('"') % 2)
        # The quotes behind a cut are not counted: such a record ends where the next one begins.
        self.closed = not self.in_quotes and not self.cut


class CsvParser:
    """Records end with the line that closes their last quote."""

    def __init__(self, dialect: Dialect) -> None:
        self._clock = dialect.clock
        self._records: deque[_Record] = deque()

    def feed(self, line: Line) -> None:
        if self._records and not self._records[-1].closed and not _BEGINS.match(line.text):
            record = self._records[-1]
        else:
            if self._records:
                self._records[-1].closed = True
            record = _Record(line.position)
            self._records.append(record)
        record.add(line)

    def take(self) -> Written | None:
        if not self._records or not self._records[0].closed:
            return None
        record = self._records.popleft()
        return _written(record, self._clock)

    def rest(self, *, over: bool) -> None:
        # An open quote will be closed, but not in a file that is over.
        for record in self._records:
            record.closed = record.closed or record.cut or over

    def kept_from(self) -> int | None:
        return self._records[0].position if self._records else None


def _written(record: _Record, clock: LogClock) -> Written:
    text = "\n".join(record.lines) + (CUT if record.cut or record.in_quotes else "")
    fields = [
        quoted.replace('""', '"') if quoted else plain
        for quoted, plain in (found.groups(default="") for found in _FIELD.finditer(text))
    ]
    torn = record.cut or record.in_quotes
    logged_at_us = clock.instant_us(fields[0])
    if len(fields) < (_MESSAGE_COLUMN + 1 if torn else _LEAST_COLUMNS) or logged_at_us is None:
        return Written(record.position)
    values = dict(zip(_COLUMNS, fields, strict=False))
    return Written(
        record.position,
        logged_at_us=logged_at_us,
        severity=values["error_severity"],
        sqlstate=values["sql_state_code"],
        pid=_number(values["process_id"]),
        database_name=values["database_name"],
        user_name=values["user_name"],
        application_name=values.get("application_name"),
        backend_type=values.get("backend_type"),
        query_id=_number(values.get("query_id", "")),
        message=values["message"],
        detail=values.get("detail"),
        hint=values.get("hint"),
        context=values.get("context"),
        statement=values.get("query"),
        internal_query=values.get("internal_query"),
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,19}", text) else None
