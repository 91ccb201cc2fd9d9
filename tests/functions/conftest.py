"""A store for each test, and functions that have cached nothing of the test before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from functions.authorizer import handler as authorizer
from functions.authorizer import key_source, parts
from functions.config import advance_handler
from functions.config import parts as config_parts
from functions.ingest import door, loader, reconcile
from functions.maintenance import handler as maintenance
from functions.query import handler as query
from functions.store import Connection, Store
from tests.functions.identities import make_files


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


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch, deployed: None, tmp_path: Path) -> None:
    """What the door of identity and the authorizer need besides: new keys, and a new authority."""
    keys, authority = make_files(tmp_path)
    monkeypatch.setenv("PGANALYTICS_KEYS_FILE", str(keys))
    monkeypatch.setenv("PGANALYTICS_AUTHORITY_FILE", str(authority))


@pytest.fixture(autouse=True)
def _nothing_cached() -> Iterator[None]:
    yield
    stores: list[Callable[[], Store]] = [config_parts.store, query._store, loader._store, maintenance._store]
    stores += [reconcile._store, parts.store, advance_handler._store]
    for opened in stores:
        if _caches(opened).cache_info().currsize:
            opened().close()
    caches = [door._bucket, loader._bucket, loader._environment, maintenance._environment, authorizer._environment]
    caches += [
        key_source.secret_keys,
        parts.environment,
        parts._secret_authority,
        reconcile._environment,
        reconcile._bucket,
    ]
    for cached in (*stores, *caches):
        _caches(cached).cache_clear()


def _caches(function: Any) -> Any:
    return function
