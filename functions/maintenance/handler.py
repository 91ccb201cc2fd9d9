"""Maintenance of the store, by schedule: `{"task": "partitions"}`."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from functions.environment import read
from functions.maintenance.tasks import MaintenanceEnvironment, do
from functions.store import Store

logger = Logger(service="pganalytics")

#: What is in hand when time is up, such as one hour of one target, has so long to end.
_SLACK_SECONDS = 30


class Context(Protocol):
    """What is needed of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


@functools.cache
def _environment() -> MaintenanceEnvironment:
    return read(MaintenanceEnvironment)


@functools.cache
def _store() -> Store:
    return Store(_environment().store_dsn, "pganalytics maintenance")


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Do one task and say what was done.

    Raises:
        UnknownTaskError: naming the tasks there are.
        StoreUnavailableError: the schedule tries again.
    """

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000 - _SLACK_SECONDS

    done = do(event.get("task"), _store(), _environment(), datetime.now(UTC), seconds_left)
    logger.info(done["task"], extra=done)
    return done
