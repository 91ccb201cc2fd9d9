"""What bounds and translates whatever is asked of a server: deadlines at this end, errors as the status of a run."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg.rows import TupleRow

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


@contextmanager
def deadline(connection: psycopg.Connection[TupleRow], seconds: float) -> Iterator[None]:
    """Cut the connection if it takes longer: a stopped server, or a pooler, answers TCP and nothing else."""
    cut = threading.Event()

    def give_up() -> None:
        cut.set()
        # Not close(): it belongs to the thread that waits, which now reads the end of the stream.
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as same:
            same.shutdown(socket.SHUT_RDWR)

    descriptor = connection.fileno()
    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.Error as error:
        if cut.is_set():
            message = f"no answer within {seconds:g} s, the connection is given up"
            raise SessionError(Status.TIMEOUT, message) from error
        raise
    finally:
        timer.cancel()


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
