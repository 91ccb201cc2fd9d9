"""Migrates the store, as a function that a deployment invokes: `{}` answers which migrations ran."""

from __future__ import annotations

from typing import Any

import psycopg
from aws_lambda_powertools import Logger
from psycopg.conninfo import make_conninfo
from sqlalchemy.exc import SQLAlchemyError

from functions.environment import read
from functions.store import StoreEnvironment
from infra.database.migrate import migrate, ran

#: A migration may take as long as it must; whether there is a store at all shows sooner.
_CONNECT_SECONDS = 20

logger = Logger(service="pganalytics")


class MigrationsEnvironment(StoreEnvironment):
    pass


class MigrationFailedError(Exception):
    """The store stays as it was; the message has what PostgreSQL said."""


def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Apply what is missing; two that are asked at once do so one after the other.

    Raises:
        MigrationFailedError: the store cannot be reached, or a migration failed and nothing of it stays.
    """
    dsn = make_conninfo(read(MigrationsEnvironment).dsn.get_secret_value(), connect_timeout=_CONNECT_SECONDS)
    try:
        before, after = migrate(dsn)
    except (psycopg.Error, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        raise MigrationFailedError(str(cause).strip().partition("\n")[0] or type(cause).__name__) from None
    done = {"before": before, "after": after, "ran": list(ran(before, after))}
    logger.info("migrated", extra=done)
    return done
