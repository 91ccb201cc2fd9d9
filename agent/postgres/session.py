"""One connection to one target: made when needed, cheap for its server, in one database at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from agent.postgres.connection import DEADLINES, Connection, SessionError, translated
from agent.postgres.cost import Cost
from agent.postgres.queries import TooOldError, Version, query
from contracts.batch import Status

#: The oldest server that is watched.
OLDEST_MAJOR = 14

#: How long after statement_timeout the server's answer is waited for.
_GRACE_SECONDS = 5.0

#: How often a reading is made anew when counters were reset while it was made.
_READINGS = 3

#: Whose counters began anew together: the server's, one database's, or those of pg_stat_statements.
EpochOf = Literal["cluster", "database", "statements"]

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Database:
    oid: int
    name: str


@dataclass
class Session:
    """A connection that belongs to one thread; it is in one database at a time."""

    dsn: str
    statement_timeout_ms: int = 5_000
    #: What this connection may not or cannot read, by query: not asked again until there is a new connection.
    refused: dict[str, SessionError] = field(default_factory=dict)
    #: Of all connections together.
    cost: Cost = field(default_factory=Cost)
    _connection: Connection | None = None
    _version: Version = ()
    _limited_to_ms: int = 0
    _epochs: dict[EpochOf, int] = field(default_factory=dict)

    @property
    def database(self) -> str | None:
        """The name of the database that the session is in; None while there is no connection."""
        return self._connection.info.dbname if self._connection is not None else None

    def use(self, database: str | None = None) -> None:
        """Be in this database, or in any; connects where necessary.

        Raises:
            SessionError: the server cannot be reached, refuses the connection, or is older than what is watched.
        """
        if self._connection is not None and not self._connection.closed and database in {None, self.database}:
            if self._limited_to_ms != self.statement_timeout_ms:
                with translated():
                    self._set_up(self._connection)
            return
        self.close()
        with self.cost.connecting(), translated():
            settings: dict[str, str | int | None] = {**DEADLINES, **conninfo_to_dict(self.dsn)}
            if database is not None:
                settings["dbname"] = database
            connection = Connection.connect("", autocommit=True, prepare_threshold=2, **settings)  # type: ignore[arg-type]
            try:
                self._set_up(connection)
            except (psycopg.Error, SessionError):
                connection.close()
                raise
            self._connection = connection

    def _set_up(self, connection: Connection) -> None:
        limit_ms = self.statement_timeout_ms
        with connection.within(limit_ms / 1000 + _GRACE_SECONDS):
            row = connection.execute(query("session", ()), {"statement_timeout_ms": limit_ms}).fetchone()
        major = int(row[-1]) // 10_000 if row else 0
        if major < OLDEST_MAJOR:
            # Half of what it would answer has another meaning, or columns that are not there.
            version = connection.info.parameter_status("server_version")
            raise SessionError(Status.UNSUPPORTED, f"PostgreSQL {version} is not watched, {OLDEST_MAJOR} is the oldest")
        self._version = (major,)
        self._limited_to_ms = limit_ms

    def close(self) -> None:
        """Give the connection up; the next use makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.refused.clear()
        self._epochs.clear()

    def rows(
        self, name: str, parameters: Mapping[str, object] | None = None, extension: str | None = None
    ) -> list[TupleRow]:
        """What a query answers, as values.

        Raises:
            SessionError: see `lines`.
        """
        with self._asking(name, extension) as (connection, text):
            return connection.execute(text, parameters).fetchall()

    def lines(
        self, name: str, parameters: Mapping[str, object] | None = None, extension: str | None = None
    ) -> list[bytes]:
        """What a query answers, a line a row as COPY writes them, without line ends.

        Args:
            name: the query's, as its file has it.
            parameters: values for its named parameters.
            extension: the extension whose version chooses the variant, and whose schema is searched.

        Raises:
            SessionError: with the status that the run deserves.
        """
        with self._asking(name, extension) as (connection, text):
            return connection.lines(text, parameters)

    @contextmanager
    def _asking(self, name: str, extension: str | None) -> Iterator[tuple[Connection, LiteralString]]:
        if name in self.refused:
            # Raised anew each time, the same error would grow a longer traceback each time.
            raise self.refused[name].with_traceback(None)
        self.use(self.database)
        if self._connection is None:
            raise SessionError(Status.ERROR, "there is no connection")
        try:
            limit = self._connection.within(self.statement_timeout_ms / 1000 + _GRACE_SECONDS)
            with self.cost.asking(), translated(), limit:
                if extension is None:
                    yield self._connection, _text(name, self._version)
                else:
                    with self._connection.transaction():
                        version = self._extension(self._connection, extension)
                        try:
                            text = query(name, version)
                        except TooOldError as unknown:
                            detail = f"{extension} is too old; alter extension {extension} update"
                            raise SessionError(Status.UNSUPPORTED, detail) from unknown
                        yield self._connection, text
        except SessionError as failure:
            error = failure
            if extension and failure.sqlstate == "55000":  # object_not_in_prerequisite_state: it is not preloaded
                error = SessionError(Status.UNSUPPORTED, failure.detail, failure.sqlstate)
            # What the server did not refuse itself costs it nothing, not even a line of its log: asked again.
            if error.sqlstate and error.status in {Status.PERMISSION, Status.UNSUPPORTED}:
                self.refused[name] = error
            if self._connection.closed:
                self.close()
            raise error from failure.__cause__

    def _extension(self, connection: Connection, name: str) -> Version:
        """Its version; its schema is on the search path until the transaction ends."""
        row = connection.execute(query("extension_installed", ()), {"name": name}).fetchone()
        if row is None:
            detail = f"{name} is not there; create extension {name} in database {self.database}"
            raise SessionError(Status.UNSUPPORTED, detail)
        return tuple(map(int, str(row[0]).split(".")))

    def require(self, role: str) -> None:
        """Make sure of this predefined role, where the server leaves rows or texts out in silence without it.

        Raises:
            SessionError: the session's role does not have it.
        """
        ((held,),) = self.rows("role_held", {"role": role})
        if not held:
            detail = f"what other roles did is not shown; grant {role} to the agent's role"
            raise SessionError(Status.PERMISSION, detail)

    def within_one_epoch(self, of: EpochOf, read: Callable[[], Read]) -> tuple[Read, int]:
        """What `read` answers, and the epoch that holds from before its beginning until after its end.

        Raises:
            SessionError: see `lines`; and when counters are reset again and again.
        """
        before = self._epochs.get(of)
        if before is None:
            before = self.epoch(of)
        for _ in range(_READINGS):
            answer, after = read(), self.epoch(of)
            if after == before:
                return answer, after
            before = after
        raise SessionError(Status.ERROR, "counters are reset again and again while they are read")

    def epoch(self, of: EpochOf) -> int:
        """The epoch of the server, of the database that the session is in, or of pg_stat_statements."""
        try:
            ((*cluster, database),) = self.rows("epoch")
        except SessionError as error:
            if error.status is not Status.UNSUPPORTED:
                raise
            ((*cluster, database),) = self.rows("epoch_without_wal")
        parts = {"cluster": (), "database": (database,), "statements": ()}[of]
        if of == "statements":
            (parts,) = self.rows("statements_epoch", extension="pg_stat_statements")
        self._epochs[of] = _number((*cluster, *parts))
        return self._epochs[of]

    def databases(self) -> list[Database]:
        """The databases that this role may connect to."""
        return [Database(int(oid), str(name)) for oid, name in self.rows("databases")]


def _text(name: str, version: Version) -> LiteralString:
    try:
        return query(name, version)
    except TooOldError as error:
        raise SessionError(Status.UNSUPPORTED, str(error)) from error


def _number(parts: TupleRow) -> int:
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
