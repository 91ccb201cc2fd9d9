"""What bounds and translates whatever is asked of a server: deadlines at this end, errors as the status of a run."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import LiteralString, TypeVar

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.rows import TupleRow
from psycopg.waiting import Wait

from contracts.batch import Status

#: What bounds a connection from this end: statement_timeout cannot reach one whose other end is gone.
DEADLINES: dict[str, str | int] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class SessionError(Exception):
    """The server did not do it. `status` says how the run ended, `detail` what to mend."""

    def __init__(self, status: Status, detail: str, sqlstate: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.sqlstate = sqlstate


_STATUS: dict[str, Status] = {
    "57014": Status.TIMEOUT,  # query_canceled, by statement_timeout
    "55P03": Status.LOCKED,  # lock_not_available, by lock_timeout
    "42501": Status.PERMISSION,
    "42703": Status.UNSUPPORTED,  # undefined column
    "42P01": Status.UNSUPPORTED,  # undefined table
    "42883": Status.UNSUPPORTED,  # undefined function
    "0A000": Status.UNSUPPORTED,
}


#: How often psycopg looks up while it waits, for Ctrl-C; its own default.
_LOOKS_UP_SECONDS = 0.1

_COPY = re.compile(r"^copy \(", re.MULTILINE)

#: What would end a cell or a line of COPY, and what begins an escape.
_ESCAPES = {b"\\": rb"\\", b"\t": rb"\t", b"\n": rb"\n", b"\r": rb"\r"}
_ESCAPED = re.compile(rb"[\\\t\n\r]")

Answer = TypeVar("Answer")


class Connection(psycopg.Connection[TupleRow]):
    """A connection whose server may be waited for until a deadline, and which answers a COPY as a whole."""

    _until = math.inf
    _seconds = math.inf

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give the connection up if it takes longer: a stopped server, or a pooler, answers TCP and nothing else.

        Raises:
            SessionError: it took longer.
        """
        self._seconds, self._until = seconds, time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = math.inf

    def wait(self, gen: PQGen[Answer], interval: float = _LOOKS_UP_SECONDS, timeout: float | None = None) -> Answer:
        """What psycopg calls whenever it waits for the server."""
        left = None if self._until == math.inf else max(0.0, self._until - time.monotonic())
        try:
            return super().wait(gen, interval, timeout if left is None else left)
        except psycopg.OperationalError as error:
            if time.monotonic() < self._until:
                raise
            # Nothing more is said to it, not even that the query is given up.
            self.close()
            message = f"no answer within {self._seconds:g} s, the connection is given up"
            raise SessionError(Status.TIMEOUT, message) from error

    def lines(self, text: LiteralString, parameters: Mapping[str, object] | None) -> list[bytes]:
        """What a query answers, a line a row as COPY writes them, without line ends.

        A query of many rows is a COPY. One of few is none: the server keeps its plan, where it plans a COPY each time
        anew, at ten times the cost of executing it.
        """
        with self.cursor() as cursor:
            if _COPY.search(text) is None:
                return _as_copied(cursor.execute(text, parameters).pgresult)
            with cursor.copy(text, parameters):
                # psycopg's own way goes line by line through Python, which takes twice the time.
                return self.wait(_copied(self.pgconn))


def _as_copied(result: pq.abc.PGresult | None) -> list[bytes]:
    if result is None:
        return []
    places = range(result.nfields)
    return [b"\t".join(_cell(result.get_value(row, place)) for place in places) for row in range(result.ntuples)]


def _cell(value: bytes | None) -> bytes:
    if value is None:
        return b"\\N"
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], value) if _ESCAPED.search(value) else value


def _copied(pgconn: pq.abc.PGconn) -> PQGen[list[bytes]]:
    lines = []
    while True:
        size, data = pgconn.get_copy_data(1)
        if size > 0:
            lines.append(data)
        elif size < 0:
            break
        else:
            yield Wait.R
            pgconn.consume_input()
    for result in (yield from generators.fetch_many(pgconn)):
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise error_from_result(result)
    return b"".join(lines).split(b"\n")[:-1]


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        status = _STATUS.get(error.sqlstate or "", Status.ERROR)
        raise SessionError(status, _detail(error, status), error.sqlstate) from error


def _detail(error: psycopg.Error, status: Status) -> str:
    message = error.diag.message_primary or str(error).strip().splitlines()[0]
    mend = {
        Status.PERMISSION: "; grant pg_monitor to the agent's role",
        Status.TIMEOUT: "; statement_timeout_ms in the configuration document is the limit",
    }
    return f"{message}{mend.get(status, '')}"[:1000]
