"""Maintenance runs at the start, and again; its failure is told and hurts nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.ingest.reconcile import Reconciled
from functions.maintenance.tasks import TASKS
from infra.standalone.events import Event, FunctionContext
from infra.standalone.queue import Queue
from infra.standalone.schedule import (
    EVERY,
    LOOK,
    MaintenanceContext,
    look,
    maintain,
    queue_left_behind,
    report,
    schedule,
)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path)
    yield opened
    opened.close()


def _looks(_event: Event, _context: FunctionContext) -> dict[str, Any]:
    return {"releases": []}


def test_every_task_is_done_at_the_start_and_by_the_clock(queue: Queue) -> None:
    events: list[Event] = []
    done = threading.Event()

    def maintenance(event: Event, _context: object) -> dict[str, Any]:
        events.append(event)
        if len(events) == len(TASKS):
            done.set()
        return {}

    scheduler = schedule(maintenance, queue, Reconciled, _looks)
    scheduler.start()
    try:
        assert done.wait(10)
        assert [event["task"] for event in events] == list(TASKS)
        assert {task: scheduler.get_job(task).trigger.interval for task in TASKS} == EVERY
        assert scheduler.get_job("reconcile").trigger.interval == timedelta(minutes=10)
        assert scheduler.get_job("releases").trigger.interval == LOOK == timedelta(seconds=10)
    finally:
        scheduler.shutdown()


def test_a_task_ends_when_the_server_does(queue: Queue) -> None:
    begun, stopped, ended = threading.Event(), threading.Event(), threading.Event()
    left: list[int] = []

    def maintenance(_event: Event, context: FunctionContext) -> dict[str, Any]:
        left.append(context.get_remaining_time_in_millis())
        begun.set()
        assert stopped.wait(10)
        left.append(context.get_remaining_time_in_millis())
        ended.set()
        return {}

    scheduler = schedule(maintenance, queue, Reconciled, _looks)
    scheduler.start()
    assert begun.wait(10)
    scheduler.shutdown(wait=False)
    stopped.set()
    assert ended.wait(10)
    assert left[:2] == [900_000, 0]


def test_a_failure_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def maintenance(_event: Event, _context: object) -> dict[str, Any]:
        raise ConnectionError("the store is away")

    maintain(maintenance, "partitions", MaintenanceContext())
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["error"]) == ("WARNING", "ConnectionError: the store is away")
    assert record.__dict__["task"] == "partitions"
    assert record.exc_info is None


def test_releases_are_looked_at_while_maintenance_takes_its_time(queue: Queue) -> None:
    begun, looked = threading.Event(), threading.Event()

    def maintenance(_event: Event, _context: FunctionContext) -> dict[str, Any]:
        begun.set()
        assert looked.wait(10)
        return {}

    def advance(_event: Event, _context: FunctionContext) -> dict[str, Any]:
        looked.set()
        return {}

    scheduler = schedule(maintenance, queue, Reconciled, advance)
    scheduler.start()
    try:
        assert begun.wait(10)
        scheduler.modify_job("releases", next_run_time=datetime.now(UTC))
        assert looked.wait(10)
    finally:
        scheduler.shutdown()


def test_a_look_that_failed_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def advance(_event: Event, _context: FunctionContext) -> dict[str, Any]:
        raise ConnectionError("the store is away")

    look(advance)
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "releases not looked at")
    assert record.__dict__["error"] == "ConnectionError: the store is away"


def test_what_was_left_behind_is_told_and_so_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> Reconciled:
        raise ConnectionError("the store is away")

    queue_left_behind(Reconciled)
    assert not caplog.records
    queue_left_behind(lambda: Reconciled(checked=9, queued=2))
    queue_left_behind(away)
    found, failed = caplog.records
    assert (found.__dict__["queued"], failed.__dict__["error"]) == (2, "ConnectionError: the store is away")


def test_the_queue_is_told_of_only_when_something_waits(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report(queue)
    assert not caplog.records
    queue.send("a")
    report(queue)
    (record,) = caplog.records
    assert (record.__dict__["depth"], record.__dict__["dead"]) == (1, 0)
