"""One connection to one target: made when needed, cheap for its server, with a deadline at this end too."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from agent.postgres.queries import query
from contracts.batch import Status

#: How long after statement_timeout the server's answer is waited for.
_GRACE_SECONDS = 5.0

#: What bounds a connection from this end: statement_timeout cannot reach one whose other end is gone.
_DEADLINES: dict[str, str | int] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


@dataclass(frozen=True, slots=True)
class Epoch:
    """Within one epoch counters only grow. `cluster` is for what the whole server shares, `database` for one."""

    cluster: int
    database: int


@dataclass(frozen=True, slots=True)
class Database:
    oid: int
    name: str


class SessionError(Exception):
    """The server did not do it. `status` says how the run ended, `detail` what to mend."""

    def __init__(self, status: Status, detail: str, sqlstate: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.sqlstate = sqlstate


@dataclass
class Session:
    """A connection that belongs to one thread; it is in one database at a time."""

    dsn: str
    statement_timeout_ms: int = 5_000
    #: What this connection may not or cannot read, by query: not asked again until there is a new connection.
    refused: dict[str, SessionError] = field(default_factory=dict)
    _connection: psycopg.Connection[TupleRow] | None = None
    _major: int = 0
    _limited_to_ms: int = 0

    @property
    def database(self) -> str | None:
        """The name of the database that the session is in; None while there is no connection."""
        return self._connection.info.dbname if self._connection is not None else None

    def use(self, database: str | None = None) -> None:
        """Be in this database, or in any; connects where necessary.

        Raises:
            SessionError: the server cannot be reached or refuses the connection.
        """
        if self._connection is not None and not self._connection.broken and database in {None, self.database}:
            if self._limited_to_ms != self.statement_timeout_ms:
                with _translated():
                    self._set_up(self._connection)
            return
        self.close()
        with _translated():
            settings: dict[str, str | int | None] = {**_DEADLINES, **conninfo_to_dict(self.dsn)}
            if database is not None:
                settings["dbname"] = database
            connection = psycopg.connect("", autocommit=True, prepare_threshold=2, **settings)  # type: ignore[arg-type]
            try:
                self._set_up(connection)
            except (psycopg.Error, SessionError):
                connection.close()
                raise
            self._connection = connection

    def _set_up(self, connection: psycopg.Connection[TupleRow]) -> None:
        limit_ms = self.statement_timeout_ms
        with _deadline(connection, limit_ms / 1000 + _GRACE_SECONDS):
            row = connection.execute(query("session", 0), {"statement_timeout_ms": limit_ms}).fetchone()
        self._major = int(row[-1]) // 10_000 if row else 0
        self._limited_to_ms = limit_ms

    def close(self) -> None:
        """Give the connection up; the next use makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.refused.clear()

    def rows(self, name: str) -> list[TupleRow]:
        """The result of a query that is not a COPY.

        Raises:
            SessionError: see `lines`.
        """
        with self._asking(name) as connection:
            return connection.execute(query(name, self._major)).fetchall()

    def lines(self, name: str) -> list[bytes]:
        """The lines of a query's COPY in text form, without their line ends.

        Raises:
            SessionError: with the status that the run deserves.
        """
        with (
            self._asking(name) as connection,
            connection.cursor() as cursor,
            cursor.copy(query(name, self._major)) as copy,
        ):
            return [bytes(line)[:-1] for line in copy]

    @contextmanager
    def _asking(self, name: str) -> Iterator[psycopg.Connection[TupleRow]]:
        if name in self.refused:
            # Raised anew each time, the same error would grow a longer traceback each time.
            raise self.refused[name].with_traceback(None)
        self.use(self.database)
        if self._connection is None:
            raise SessionError(Status.ERROR, "there is no connection")
        try:
            with _translated(), _deadline(self._connection, self.statement_timeout_ms / 1000 + _GRACE_SECONDS):
                yield self._connection
        except SessionError as error:
            if error.status in {Status.PERMISSION, Status.UNSUPPORTED}:
                self.refused[name] = error
            if self._connection.broken:
                self.close()
            raise

    def epoch(self) -> Epoch:
        """The epoch of the cluster and of the database that the session is in."""
        (row,) = self.rows("epoch")
        return Epoch(cluster=_number(row[:3]), database=_number(row))

    def databases(self) -> list[Database]:
        """The databases that this role may connect to."""
        return [Database(int(oid), str(name)) for oid, name in self.rows("databases")]


def _number(parts: TupleRow) -> int:
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


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
def _deadline(connection: psycopg.Connection[TupleRow], seconds: float) -> Iterator[None]:
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
def _translated() -> Iterator[None]:
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
