"""A store for each test, and functions that have cached nothing of the test before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from functions.authorizer import handler as authorizer
from functions.config import handler as config
from functions.ingest import door, loader
from functions.maintenance import handler as maintenance
from functions.query import handler as query
from functions.store import Connection, Store
from infra.database.migrate import migrate
from infra.standalone.embedded import EmbeddedPostgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def store_template(server: EmbeddedPostgres) -> str:
    """The name of a database with the store's schema, for others to be made from."""
    name = "store_template"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    migrate(server.dsn(name))
    return name


@pytest.fixture
def store_dsn(server: EmbeddedPostgres, store_template: str) -> Iterator[str]:
    """An empty store of this test's own."""
    name = f"store_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {store_template}")
        yield server.dsn(name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def store(store_dsn: str) -> Iterator[Store]:
    opened = Store(SecretStr(store_dsn), "tests")
    yield opened
    opened.close()


@pytest.fixture
def connection(store_dsn: str) -> Iterator[Connection]:
    """For a test to look into the store by itself."""
    with psycopg.connect(store_dsn, autocommit=True, options="-c timezone=UTC") as opened:
        yield opened


@pytest.fixture
def bucket_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, store_dsn: str, bucket_folder: Path) -> None:
    """The environment of the functions: this test's store, and a folder as the bucket."""
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", store_dsn)
    monkeypatch.setenv("PGANALYTICS_BUCKET_URL", f"file://{bucket_folder}")


@pytest.fixture(autouse=True)
def _nothing_cached() -> Iterator[None]:
    yield
    stores: list[Callable[[], Store]] = [config._store, query._store, loader._store, maintenance._store]
    for opened in stores:
        if _caches(opened).cache_info().currsize:
            opened().close()
    caches = [door._bucket, loader._bucket, loader._environment, maintenance._environment, authorizer._environment]
    for cached in (*stores, *caches):
        _caches(cached).cache_clear()


def _caches(function: Any) -> Any:
    return function
