"""The tasks of maintenance: each can be done again, and by two at once; each says what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from pydantic import Field

from functions.maintenance.alone import alone
from functions.maintenance.configuration import forget
from functions.maintenance.expire import expire
from functions.maintenance.fleet import count
from functions.maintenance.partitions import turn
from functions.maintenance.rollup import roll_up
from functions.retention import Retention, RetentionEnvironment
from functions.store import Store, StoreEnvironment


class UnknownTaskError(ValueError):
    """The event asks for something that maintenance does not do."""


class TaskEnvironment(RetentionEnvironment):
    """What the tasks are told, wherever they run."""

    quarantine_keep_days: int = Field(default=90, ge=1, le=3650)
    rollup_keep_days: int = Field(default=400, ge=1, le=3650)
    rollup_seconds: int = Field(default=60, ge=1, le=800)

    @property
    def retention(self) -> Retention:
        return replace(super().retention, rollups=self.rollup_keep_days)


class MaintenanceEnvironment(TaskEnvironment, StoreEnvironment):
    """`deployment` is what figures of the fleet go by in CloudWatch; without it none are told there."""

    deployment: str | None = None


#: Seconds that a task may still take; at 0 it ends with what it has in hand.
SecondsLeft = Callable[[], float]

_Task = Callable[[Store, TaskEnvironment, datetime, SecondsLeft], Any]


def _partitions(store: Store, told: TaskEnvironment, now: datetime, seconds_left: SecondsLeft) -> object:
    return turn(store, now, told.retention, seconds_left)


def _rollup(store: Store, told: TaskEnvironment, now: datetime, seconds_left: SecondsLeft) -> object:
    return roll_up(store, now, told.retention, told.rollup_seconds, seconds_left)


def _expire(store: Store, told: TaskEnvironment, now: datetime, _seconds_left: SecondsLeft) -> object:
    return expire(store, now, told.quarantine_keep_days)


def _configuration(store: Store, _told: TaskEnvironment, now: datetime, _seconds_left: SecondsLeft) -> object:
    return forget(store, now)


def _fleet(store: Store, _told: TaskEnvironment, now: datetime, _seconds_left: SecondsLeft) -> object:
    return count(store, now)


TASKS: Mapping[str, _Task] = {
    "partitions": _partitions,
    "rollup": _rollup,
    "expire": _expire,
    "configuration": _configuration,
    "fleet": _fleet,
}


def do(task: object, store: Store, told: TaskEnvironment, now: datetime, seconds_left: SecondsLeft) -> dict[str, Any]:
    """Do one task, and answer what was done; where another run is at it, `running` says so and nothing is done.

    Raises:
        UnknownTaskError: naming the tasks there are.
        StoreUnavailableError: try again later; what was done stays.
    """
    if not isinstance(task, str) or task not in TASKS:
        raise UnknownTaskError(f"task: {task!r} is unknown; there is {', '.join(map(repr, TASKS))}")
    with alone(store, task) as free:
        if not free:
            return {"task": task, "running": True}
        return {"task": task, **asdict(TASKS[task](store, told, now, seconds_left))}
