"""One entry of the log, with the values already taken out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from agent.collectors.values import Value
from agent.logs.literals import CUT, redact_sql
from agent.logs.redact import redact_message, split_message

SEVERITIES = (
    *("DEBUG", "DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4", "DEBUG5"),
    *("LOG", "INFO", "NOTICE", "WARNING", "ERROR", "FATAL", "PANIC"),
)

#: Characters of a text that are looked at: redacted text is rarely longer than what it came from.
TEXT_LIMIT = 65_536

_STATEMENT_BYTES = 8192
_MESSAGE_BYTES = 4096
_NAME_BYTES = 256
_DURATION = re.compile(r"\w+ ?: ([0-9]+(?:\.[0-9]+)?) ms(?=  |\Z)")
# The words of RAISE and of other languages' errors are the application's: no rule tells their values apart.
_RAISED = re.compile(r"^PL/pgSQL\b.*\bRAISE$", re.MULTILINE)
_OTHER_LANGUAGE = re.compile(r"^PL/(?!pgSQL\b)|^Traceback ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Written:
    """What the server wrote, as it wrote it; never leaves the process."""

    position: int
    logged_at_us: int | None = None
    severity: str | None = None
    sqlstate: str | None = None
    pid: int | None = None
    database_name: str | None = None
    user_name: str | None = None
    application_name: str | None = None
    backend_type: str | None = None
    query_id: int | None = None
    message: str | None = None
    detail: str | None = None
    hint: str | None = None
    context: str | None = None
    statement: str | None = None
    internal_query: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry; its texts are redacted and capped, its instant is in microseconds since 1970 UTC."""

    position: int
    logged_at_us: int | None
    severity: str | None
    sqlstate: str | None
    pid: int | None
    database_name: str | None
    user_name: str | None
    application_name: str | None
    backend_type: str | None
    query_id: int | None
    duration_us: int | None
    message: str | None
    detail: str | None
    hint: str | None
    context: str | None
    statement: str | None

    def row(self, file_id: str) -> tuple[Value, ...]:
        """The entry in the order of the columns of `log_event`."""
        return (
            *(file_id, self.position, self.logged_at_us, self.severity, self.sqlstate, self.pid),
            *(self.database_name, self.user_name, self.application_name, self.backend_type, self.query_id),
            *(self.duration_us, self.message, self.detail, self.hint, self.context, self.statement),
        )


def redacted(written: Written, *, english: bool = True) -> LogEntry:
    """The entry that may leave the process.

    SQL that the message reports moves to `statement`. Texts whose language or origin is not PostgreSQL's English
    are `?`: the rules know no other.
    """
    severity = written.severity if written.severity in SEVERITIES else None
    head, reported = split_message(_looked_at(written.message or ""))
    context = written.context or ""
    postgres = english and severity is not None and not _OTHER_LANGUAGE.search(context)
    known = postgres and written.sqlstate != "P0001" and not _RAISED.search(context)
    statement = written.statement or written.internal_query
    return LogEntry(
        position=written.position,
        logged_at_us=written.logged_at_us,
        severity=severity,
        sqlstate=_capped(written.sqlstate, 5),
        pid=written.pid,
        database_name=_name(written.database_name),
        user_name=_name(written.user_name),
        application_name=_name(written.application_name),
        backend_type=_name(written.backend_type),
        query_id=written.query_id or None,
        duration_us=_duration_us(written.message or ""),
        message=_capped(head, _MESSAGE_BYTES) if known else "?",
        detail=_message(written.detail, known=known),
        hint=_message(written.hint, known=known),
        context=_message(written.context, known=postgres),
        statement=_capped(redact_sql(_looked_at(statement)) if statement else reported, _STATEMENT_BYTES),
    )


def _message(text: str | None, *, known: bool) -> str | None:
    if not text:
        return None
    return _capped(redact_message(_looked_at(text)), _MESSAGE_BYTES) if known else "?"


def _name(text: str | None) -> str | None:
    # A session that has not authenticated yet is "[unknown]" in every form of the log.
    return None if text in (None, "", "[unknown]") else _capped(text, _NAME_BYTES)


def _looked_at(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + CUT


def _capped(text: str | None, limit_bytes: int) -> str | None:
    if not text:
        return None
    encoded = text.replace("\0", "").encode("utf-8", "replace")
    if len(encoded) <= limit_bytes:
        return encoded.decode()
    return encoded[: limit_bytes - len(CUT.encode())].decode("utf-8", "ignore") + CUT


def _duration_us(message: str) -> int | None:
    duration = _DURATION.match(message)
    return int(Decimal(duration[1]) * 1000) if duration else None
