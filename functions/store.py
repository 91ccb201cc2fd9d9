"""Connections to the store: one a thread, kept between events, made anew after a failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow
from pydantic import SecretStr

Connection = psycopg.Connection[TupleRow]


_OPTIONS = "-c timezone=UTC -c statement_timeout=60s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"


class StoreUnavailableError(Exception):
    """The store cannot be reached or refused the work for a reason of its own: try again later."""


class Store:
    """The central PostgreSQL, as a function sees it."""

    def __init__(self, dsn: SecretStr, application_name: str) -> None:
        self._dsn = dsn
        self._application_name = application_name
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
        self._local.connection = connection = psycopg.connect(
            self._dsn.get_secret_value(),
            application_name=self._application_name,
            autocommit=True,
            connect_timeout=5,
            options=_OPTIONS,
        )
        return connection

    def close(self) -> None:
        """Close this thread's connection, if it has one."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection


def _reason(error: psycopg.Error) -> str:
    # Of an error the server sent, its primary message; of a failure to connect, its kind: the text may have the DSN.
    return error.diag.message_primary or type(error).__name__
