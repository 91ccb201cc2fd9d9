"""A server that writes its log in every form it knows, and what the tests of the follower share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

import psycopg
import pytest

from agent.logs.clock import LogClock
from agent.logs.follow import LogFollower
from agent.logs.parser import Dialect, Form
from contracts.metrics.logs import LOG_EVENT
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.servers import NewServer

PREFIX = "%m [%-6p] %b %Q %e %q%u@%d/%a "
ZONE = "Europe/Berlin"


@pytest.fixture(scope="package")
def server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """Takes the place of the run's server: this one logs every statement in every form."""
    settings = {
        **THROWAWAY,
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql-%Y-%m-%d_%H%M%S.log",
        "log_rotation_age": "0",
        "log_min_duration_statement": "0",
        "log_line_prefix": PREFIX,
        "log_timezone": ZONE,
        "log_connections": "on",
        "log_lock_waits": "on",
        "deadlock_timeout": "50ms",
        "compute_query_id": "on",
        "shared_preload_libraries": "auto_explain",
    }
    with new_server(settings) as running, psycopg.connect(running.dsn(), autocommit=True) as connection:
        connection.execute("alter system set log_destination = 'stderr,csvlog'")
        with suppress(psycopg.errors.InvalidParameterValue):  # before 15 there is no jsonlog
            connection.execute("alter system set log_destination = 'stderr,csvlog,jsonlog'")
        running.restart()
        yield running


@pytest.fixture(scope="package")
def forms(server: EmbeddedPostgres) -> list[Form]:
    """The forms of its log, the best first."""
    with psycopg.connect(server.dsn()) as connection:
        (destinations,) = connection.execute("show log_destination").fetchone() or ("",)
    written = {Form(name.removesuffix("log")) for name in destinations.split(",")}
    return [form for form in Form if form in written]


@pytest.fixture(scope="session")
def dialect() -> Dialect:
    return Dialect(log_line_prefix=PREFIX, clock=LogClock(ZONE))


class Entries(Protocol):
    def __call__(
        self, follower: LogFollower, limit_rows: int = 1000, limit_bytes: int = 1_000_000
    ) -> list[dict[str, object]]: ...


@pytest.fixture(scope="session")
def entries() -> Entries:
    """Reads all there is, to the end of files at rest; each row by the names of the columns."""

    def read(follower: LogFollower, limit_rows: int = 1000, limit_bytes: int = 1_000_000) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        quiet = 0
        while quiet < 2:
            reading = follower.read(limit_rows, limit_bytes)
            found += [dict(zip(LOG_EVENT.names, row, strict=True)) for row in reading.rows]
            quiet = 0 if reading.rows or reading.more else quiet + 1
        return found

    return read
