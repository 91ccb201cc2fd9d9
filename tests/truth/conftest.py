"""A server to watch, of the version that the run asks for, and the store that its readings go into."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from functions.store import Store
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.servers import NewServer
from tests.truth.story import Story


@pytest.fixture
def watched(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server that the test may break, with pg_stat_statements. A crash loses nothing that was committed."""
    with new_server(
        {**THROWAWAY, "synchronous_commit": "on", "shared_preload_libraries": "pg_stat_statements"}
    ) as running:
        running.run("psql", "-qd", running.dsn(), "-c", "create extension pg_stat_statements")
        yield running


@pytest.fixture
def story(store_dsn: str) -> Iterator[Story]:
    store = Store(SecretStr(store_dsn), "tests")
    with psycopg.connect(store_dsn, autocommit=True) as connection:
        story = Story(store, connection)
        yield story
        story.close()
    store.close()
