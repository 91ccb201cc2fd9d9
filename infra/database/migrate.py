"""Brings the store's schema to the newest version."""

from __future__ import annotations

import io
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

#: Any number that nothing else locks: two servers that start together migrate one after the other.
_LOCK = 7_205_118_001


def migrate(dsn: str) -> tuple[str | None, str]:
    """Apply what is missing, and answer the versions before and after.

    Raises:
        psycopg.Error: the store cannot be reached, or a migration failed; nothing of that migration stays.
    """
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _version(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before, newest()


def newest() -> str:
    """The version that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head


def ran(before: str | None, after: str) -> tuple[str, ...]:
    """The versions that come after one and up to another, in their order."""
    found = ScriptDirectory.from_config(_config()).iterate_revisions(after, before or "base")
    return tuple(reversed([each.revision for each in found]))


def sql() -> str:
    """The statements of all migrations, for those who apply them by hand."""
    config = _config()
    config.output_buffer = buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return buffer.getvalue()


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
