"""Fixtures that every test may use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres
from tests import servers
from tests.faults.counting import pytest_terminal_summary as pytest_terminal_summary
from tests.servers import FEW_SEGMENTS, NewServer, in_memory

pytest_plugins = ("tests.figures", "tests.order", "tests.s3")

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgresql",
        metavar="DIR",
        type=lambda folder: Path(folder).resolve(),
        help="the PostgreSQL (bin, lib, share) that tests watch instead of the embedded one",
    )
    parser.addoption(
        "--faults", metavar="N", type=int, default=1, help="so many times the usual number of faults (tests/faults)"
    )
    parser.addoption("--faults-seed", metavar="SEED", type=int, help="the dice of a run of tests/faults that failed")


@pytest.fixture(scope="session")
def new_server(pytestconfig: pytest.Config) -> NewServer:
    return partial(embedded_postgres, installation=pytestconfig.getoption("postgresql"), below=in_memory())


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL 18 for the stores of this worker's whole run."""
    with embedded_postgres({**THROWAWAY, **FEW_SEGMENTS}, below=in_memory()) as running:
        yield running


@pytest.fixture(scope="session")
def store_template(server: EmbeddedPostgres) -> str:
    """The name of a database with the store's schema, for others to be made from."""
    return servers.store_template(server)


@pytest.fixture
def store_dsn(server: EmbeddedPostgres, store_template: str) -> Iterator[str]:
    """An empty store of this test's own."""
    name = f"store_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {store_template}")
        yield server.dsn(name)
        connection.execute(f"drop database {name} with (force)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL, and what watches it, by fixtures: `-m "not postgres"` is always right."""
    for item in items:
        used = set(item.fixturenames) if isinstance(item, pytest.Function) else set()
        if used & {"server", "new_server"}:
            item.add_marker(pytest.mark.postgres)
        if "new_server" in used:
            item.add_marker(pytest.mark.watched)
