"""What the tests of the agent share: servers to watch, a token, a door to send to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.settings import ServerSettings
from agent.transports.http import ServerClient
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.door import Door, door
from tests.servers import NewServer

TOKEN = "the-token-that-nobody-may-see"


@pytest.fixture(scope="session")
def server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """Takes the place of the stores' server: the one to watch, with pg_stat_statements loaded."""
    with new_server(
        {**THROWAWAY, "shared_preload_libraries": "pg_stat_statements", "track_functions": "all"}
    ) as running:
        running.run("psql", "-Xqd", running.dsn(), "-c", "create extension pg_stat_statements")
        yield running


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def open_door() -> Iterator[Door]:
    """A server that takes everything, until its answer is replaced."""
    with door() as opened:
        yield opened


@pytest.fixture
def client(open_door: Door, token_file: Path) -> ServerClient:
    return ServerClient(ServerSettings(url=open_door.url, token_file=token_file))
