"""What happens by the clock, as EventBridge would have it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from functions.ingest.reconcile import Reconciled
from infra.standalone.events import Event, FunctionContext
from infra.standalone.queue import Queue

logger = logging.getLogger(__name__)

#: The tasks of maintenance, each at the start and then so often.
EVERY = {
    "partitions": timedelta(hours=1),
    "rollup": timedelta(minutes=5),
    "expire": timedelta(days=1),
    "configuration": timedelta(days=1),
    "fleet": timedelta(minutes=5),
}

#: So often the releases that are on their way are looked at.
LOOK = timedelta(seconds=10)

Maintenance = Callable[[Event, FunctionContext], Any]
Advance = Callable[[Event, FunctionContext], Any]


@dataclass(frozen=True)
class MaintenanceContext(FunctionContext):
    """The context of a task, that has no time left once the server is stopped."""

    function_name: str = "maintenance"
    running: Callable[[], bool] = field(default=lambda: True)

    def get_remaining_time_in_millis(self) -> int:
        return 900_000 if self.running() else 0


def schedule(
    maintenance: Maintenance, queue: Queue, reconcile: Callable[[], Reconciled], advance: Advance
) -> BackgroundScheduler:
    """A scheduler, not yet started: the tasks of maintenance, and a word on the queue every 5 minutes.

    What was left behind is queued every 10 minutes; at the start the server does that apart. Releases are looked at
    however long a task of maintenance takes.
    """
    scheduler = BackgroundScheduler(
        timezone=UTC,
        # One thread keeps one connection to the store.
        executors={"default": ThreadPoolExecutor(1), "releases": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    context = MaintenanceContext(running=lambda: bool(scheduler.running))
    begin = datetime.now(UTC)
    for number, (task, every) in enumerate(EVERY.items()):
        scheduler.add_job(
            maintain,
            "interval",
            (maintenance, task, context),
            id=task,
            seconds=every.total_seconds(),
            next_run_time=begin + number * timedelta(milliseconds=1),  # in this order
        )
    scheduler.add_job(report, "interval", (queue,), id="report", minutes=5)
    scheduler.add_job(queue_left_behind, "interval", (reconcile,), id="reconcile", minutes=10)
    scheduler.add_job(look, "interval", (advance,), id="releases", executor="releases", seconds=LOOK.total_seconds())
    return scheduler


def maintain(maintenance: Maintenance, task: str, context: FunctionContext) -> None:
    """Do one task; a failure is told and left to the next time, for loading makes what it misses itself."""
    try:
        maintenance({"task": task}, context)
    except Exception as error:  # noqa: BLE001 - the store's outage, whatever its name
        logger.warning("maintenance failed", extra={"task": task, "error": f"{type(error).__name__}: {error}"})


def look(advance: Advance) -> None:
    """Look at the releases; a failure is told and left to the next time, for all that is known is in the store."""
    try:
        advance({}, FunctionContext("release"))
    except Exception as error:  # noqa: BLE001 - the store's outage, whatever its name
        logger.warning("releases not looked at", extra={"error": f"{type(error).__name__}: {error}"})


def queue_left_behind(reconcile: Callable[[], Reconciled]) -> None:
    """Reconcile; a failure is told and left to the next time."""
    try:
        done = reconcile()
    except Exception as error:  # noqa: BLE001 - the store's or the bucket's outage, whatever its name
        logger.warning("not reconciled", extra={"error": f"{type(error).__name__}: {error}"})
        return
    if done.queued:
        logger.warning("queued what was left behind", extra=asdict(done))


def report(queue: Queue) -> None:
    """Tell how far loading is behind, when it is."""
    depth, dead = queue.depth(), queue.dead()
    if depth or dead:
        logger.warning(
            "queue", extra={"depth": depth, "oldest_age_seconds": round(queue.oldest_age_seconds()), "dead": dead}
        )
