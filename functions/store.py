"""Connections to the store: one a thread, kept between events, made anew after a failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from pydantic import SecretStr

from functions.environment import Environment, EnvironmentVariableError, read, variable

Connection = psycopg.Connection[TupleRow]


# A statement, not the connection's `options`: RDS Proxy refuses these ("currently doesn't support command-line
# options"). It pins the session to one connection of the proxy's, as psycopg's prepared statements would anyway.
_SETTINGS: LiteralString = (
    "set timezone = 'UTC'; set statement_timeout = '60s'; set lock_timeout = '10s';"
    "set idle_in_transaction_session_timeout = '60s'"
)


class StoreUnavailableError(Exception):
    """The store cannot be reached or refused the work for a reason of its own: try again later."""


class StoreEnvironment(Environment):
    """Where the store is: its whole connection string, or `store_at` for all but the name and the password.

    With `store_at`, the secret is JSON with `username` and `password`, as RDS writes and rotates it.
    """

    store_dsn: SecretStr
    store_at: str | None = None

    @property
    def dsn(self) -> SecretStr:
        """The connection string.

        Raises:
            EnvironmentVariableError: the two do not make one.
        """
        if self.store_at is None:
            return self.store_dsn
        try:
            found = json.loads(self.store_dsn.get_secret_value())
            made = make_conninfo(self.store_at, user=found["username"], password=found["password"])
        except (ValueError, KeyError, TypeError, psycopg.Error):
            needed = f"{variable('store_at')}: wants a connection string of libpq without user and password, and a"
            raise EnvironmentVariableError(f"{needed} secret with username and password, as RDS writes it") from None
        return SecretStr(made)

    def store(self, application_name: str) -> Store:
        """The store; its connection string is read again when its password is not taken any more."""
        return Store(self.dsn, application_name, _dsn)


def _dsn() -> SecretStr:
    return read(StoreEnvironment).dsn


class Store:
    """The central PostgreSQL, as a function sees it.

    `again` tells the connection string anew, for when the password in it is refused: it may have been changed.
    """

    def __init__(self, dsn: SecretStr, application_name: str, again: Callable[[], SecretStr] | None = None) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._again = again
        self._local = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back when an exception leaves it.

        Raises:
            StoreUnavailableError: no connection, or it broke, or the server ran out of something.
        """
        try:
            connection = self._connection()
            with connection.transaction():
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            raise StoreUnavailableError(f"the store is not available: {_reason(error)}") from error

    def read(self, statement: LiteralString, parameters: Mapping[str, object]) -> list[TupleRow]:
        """The rows of one statement that only reads: one way to the server and back, for what is asked all the time.

        It is a transaction of its own, and done once more where the connection turns out to be broken.

        Raises:
            StoreUnavailableError: no connection, or the server ran out of something.
        """
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.closed:
            try:
                return connection.execute(statement, parameters).fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not connection.closed:
                    raise StoreUnavailableError(f"the store is not available: {_reason(error)}") from error
        with self.transaction() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.closed:
            try:
                connection.execute("")  # an empty statement: what a proxy or a restart broke shows here
            except psycopg.Error:
                connection.close()
            else:
                return connection
        try:
            connection = self._connect()
        except psycopg.OperationalError as error:
            if not self._told_anew(error):
                raise
            connection = self._connect()
        self._local.connection = connection
        connection.execute(_SETTINGS)
        return connection

    def _connect(self) -> Connection:
        return psycopg.connect(
            self._dsn.get_secret_value(),
            application_name=self._application_name,
            autocommit=True,
            connect_timeout=5,
        )

    def _told_anew(self, error: psycopg.OperationalError) -> bool:
        """Whether a password was refused and there is another by now. An open connection outlives its password."""
        if self._again is None or error.pgconn is None or not error.pgconn.used_password:
            return False
        before = self._dsn
        try:
            self._dsn = self._again()
        except EnvironmentVariableError as unreadable:
            raise StoreUnavailableError(f"the store is not available: {unreadable}") from error
        return self._dsn != before

    def close(self) -> None:
        """Close this thread's connection, if it has one."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection


def _reason(error: psycopg.Error) -> str:
    # Of an error the server sent, its primary message; of a failure to connect, its kind: the text may have the DSN.
    return error.diag.message_primary or type(error).__name__
