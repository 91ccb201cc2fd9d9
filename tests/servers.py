"""The servers of the tests: to watch, of the version that the run asks for (`pytest --postgresql=DIR`), and for stores.

Their data lie in memory where there is enough of it: on a disk, a new store's files cost ten times the time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import psycopg

from infra.database.migrate import migrate
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 1024**3

#: Less of the log of a server whose data lie in memory, which checkpoints cost nothing.
FEW_SEGMENTS: Mapping[str, str] = {"max_wal_size": "128MB", "min_wal_size": "32MB"}

_TEMPLATE = "store_template"


class NewServer(Protocol):
    """Starts a server of the test's own, which is gone at the end of the block."""

    def __call__(self, settings: Mapping[str, str] = THROWAWAY) -> AbstractContextManager[EmbeddedPostgres]: ...


def in_memory() -> Path | None:
    """The folder for data that nobody needs after the run; None: the system's temporary folder."""
    if not _MEMORY.is_dir():
        return None
    room = shutil.disk_usage(_MEMORY).free
    return _MEMORY if room >= _ENOUGH_BYTES else None


def store_template(server: EmbeddedPostgres) -> str:
    """The name of a database with the store's schema, for others to be made from; made once a server."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (_TEMPLATE,)).fetchone():
            return _TEMPLATE
        connection.execute(f"create database {_TEMPLATE}".encode())
    migrate(server.dsn(_TEMPLATE))
    return _TEMPLATE
