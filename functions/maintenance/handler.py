"""Maintenance of the store, by schedule: `{"task": "partitions"}`."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import Field, SecretStr

from functions.environment import Environment, read
from functions.maintenance.partitions import turn
from functions.store import Store

logger = Logger(service="pganalytics")

PARTITIONS = "partitions"


class UnknownTaskError(ValueError):
    """The event asks for something that maintenance does not do."""


class MaintenanceEnvironment(Environment):
    store_dsn: SecretStr
    keep_days: int = Field(default=30, ge=1, le=3650)


@functools.cache
def _environment() -> MaintenanceEnvironment:
    return read(MaintenanceEnvironment)


@functools.cache
def _store() -> Store:
    return Store(_environment().store_dsn, "pganalytics maintenance")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Do one task and say what was done.

    Raises:
        UnknownTaskError: naming the tasks there are.
        StoreUnavailableError: the schedule tries again.
    """
    task = event.get("task")
    if task != PARTITIONS:
        raise UnknownTaskError(f"task: {task!r} is unknown; there is {PARTITIONS!r}")
    turned = turn(_store(), datetime.now(UTC), _environment().keep_days)
    logger.info("partitions", extra={"made": turned.made, "dropped": turned.dropped})
    return {"task": task, "made": turned.made, "dropped": turned.dropped}
