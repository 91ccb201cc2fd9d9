"""Sessions that do things to be watched: statements sent and not waited for, the server's clock, rows as lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from contracts.batch import Frame
from contracts.metrics import CATALOGUE, Metric
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.targets.watching import Watched

#: What a frame says of each row.
Row = dict[str, Any]

_CLOCK = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"


@contextmanager
def session(dsn: str, application: str = "") -> Iterator[psycopg.Connection]:
    """A session that is closed at the end whatever it is doing then."""
    connection = psycopg.connect(dsn, autocommit=True, application_name=application)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: psycopg.Connection, statement: str) -> None:
    """Send it and do not wait for its end; the connection is good for nothing else until then."""
    connection.pgconn.send_query(statement.encode())
    connection.pgconn.flush()


def pid(connection: psycopg.Connection) -> int:
    return connection.info.backend_pid


def value(connection: psycopg.Connection, query: str, *parameters: object) -> Any:
    """The one value that a query answers."""
    ((found,),) = connection.execute(query.encode(), parameters or None).fetchall()
    return found


def clock(connection: psycopg.Connection) -> int:
    """The server's clock, in microseconds since 1970: an age lies between two readings of it less the instant."""
    return int(value(connection, _CLOCK))


def read(watching: Watched, metric: Metric) -> list[Row]:
    """The rows of one reading, in its order; the contract has agreed to the frame."""
    frame = watching.frame(metric)
    columns = Frame.model_validate(frame.model_dump()).columns
    names = CATALOGUE[metric.name].names
    return [dict(zip(names, row, strict=True)) for row in zip(*(columns[name] for name in names), strict=True)]


@contextmanager
def role(server: EmbeddedPostgres, *member_of: str) -> Iterator[str]:
    """The name of a role that is no superuser, and a member of these."""
    name = f"plain_{uuid4().hex[:8]}"
    with session(server.dsn()) as admin:
        admin.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        for each in member_of:
            admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(each), sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
