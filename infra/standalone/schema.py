"""Migrates the store for an operator: with a deadline, and errors in one line."""

from __future__ import annotations

import psycopg
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from infra.database.migrate import migrate
from infra.standalone.dsn import with_deadline


class MigrationError(Exception):
    """The store could not be migrated; the message has what PostgreSQL said."""


def migrate_store(dsn: SecretStr) -> tuple[str | None, str]:
    """Apply what is missing, and answer the versions before and after.

    Raises:
        MigrationError: the store cannot be reached, or a migration failed; nothing of that migration stays.
    """
    try:
        return migrate(with_deadline(dsn))
    except (psycopg.Error, SQLAlchemyError) as error:
        raise MigrationError(
            f"the store cannot be migrated: {_first_line(error)}; check the connection string in PGANALYTICS_STORE_DSN "
            "and that its role may create schemas"
        ) from error


def _first_line(error: Exception) -> str:
    # SQLAlchemy wraps the driver's error, and adds a link to its own pages.
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
