"""Maintenance of the store, by schedule: `{"task": "partitions"}`."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from functions.environment import read
from functions.maintenance.tasks import MaintenanceEnvironment, do
from functions.store import Store

logger = Logger(service="pganalytics")

#: CloudWatch's name for our own figures.
NAMESPACE = "pgAnalytics"

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
    return _environment().store("pganalytics maintenance")


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
    if done["task"] == "fleet" and "running" not in done and (deployment := _environment().deployment):
        _tell(deployment, done)
    return done


def _tell(deployment: str, counted: dict[str, Any]) -> None:
    """Tell CloudWatch the figures of the fleet, in its embedded metric format: a line of the log."""
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    metrics.add_dimension(name="Deployment", value=deployment)
    metrics.add_metric(name="Agents", unit=MetricUnit.Count, value=counted["agents"])
    metrics.add_metric(name="SilentAgents", unit=MetricUnit.Count, value=counted["silent"])
    metrics.flush_metrics()
