"""Promises of the signs of life: a part that is not heard of in time is stuck, and systemd is not told otherwise."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.assemble import Batcher
from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Collector
from agent.outbox import Outbox
from agent.progress import Progress
from agent.schedule import Schedule
from agent.sender import Sender
from agent.spool import Spool
from agent.systemd import tell_systemd, watchdog_seconds
from agent.transports.outcome import Delivered, Outcome, Upload
from contracts.document import DatabaseSettings, Document
from tests.agent.polling import until


class Clock:
    now = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(lambda: clock.now)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield door


def test_who_is_not_heard_of_in_time_is_stuck_until_it_is(clock: Clock, progress: Progress) -> None:
    progress.within("one", 10)
    progress.within("two", 30)
    assert progress.stuck() == []
    clock.now = 20
    assert progress.stuck() == ["one"]
    progress.within("one", 5)
    assert progress.stuck() == []


def test_systemd_is_told(systemd: socket.socket) -> None:
    tell_systemd("READY=1")
    assert systemd.recv(100) == b"READY=1"


def test_nobody_is_told_where_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    tell_systemd("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell_systemd("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "process", "seconds"),
    [("30000000", "own", 30.0), ("30000000", "", 30.0), ("30000000", "1", None), ("", "", None), ("0", "", None)],
)
def test_the_watchdog_is_that_of_this_process(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, process: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "own" else process)
    assert watchdog_seconds() == seconds


def test_a_schedule_is_heard_of(clock: Clock, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.schedule._PULSE_SECONDS", 1)
    schedule = Schedule((), Outbox(), progress=progress)
    schedule.start()
    try:
        clock.now = 1000
        assert progress.stuck() == ["schedule"]
        until(lambda: progress.stuck() == [])
    finally:
        schedule.stop()


class _Watched:
    """A target whose one collector comes back when it is let go."""

    name = "main"

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def collectors(self) -> tuple[Collector, ...]:
        return COLLECTORS[:1]

    def lane(self, _collector: Collector) -> str:
        return "main:cluster"

    def collect(self, _collector: Collector) -> None:
        self.reached.set()
        self.go.wait()

    def apply(self, document: Document) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def test_a_collector_that_hangs_is_stuck_and_one_that_is_slow_is_not(
    clock: Clock, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.schedule._SPREAD_SECONDS", 0.01)
    monkeypatch.setattr("agent.schedule._PULSE_SECONDS", 0.01)
    target = _Watched()
    schedule = Schedule((target,), Outbox(), progress=progress)
    schedule.apply(Document(databases=DatabaseSettings(at_most=10), statement_timeout_ms=10_000))
    schedule.start()
    try:
        assert target.reached.wait(10)
        clock.now = 2000  # ten databases, each of which answers for 20 s
        until(lambda: progress.stuck() == [])
        clock.now = 10_000
        until(lambda: progress.stuck() == ["lane main:cluster"])
        target.go.set()
        until(lambda: progress.stuck() == [])
    finally:
        target.go.set()
        schedule.stop()


class _Hanging:
    """An assembler or a transport that does not come back."""

    def __init__(self) -> None:
        self.reached = False

    def close_batch(self) -> None:
        self.reached = True

    def send(self, upload: Upload) -> Outcome:
        del upload
        self.reached = True
        return Delivered()


def test_a_batcher_is_heard_of_each_time_that_it_closes_a_batch(clock: Clock, progress: Progress) -> None:
    outbox = Outbox()
    assembler = _Hanging()
    batcher = Batcher(assembler, outbox, lambda: 0.01, progress)  # type: ignore[arg-type]
    batcher.start()
    try:
        until(lambda: assembler.reached)
        clock.now = 10_000
        until(lambda: progress.stuck() == [])
    finally:
        batcher.stop()


def test_a_sender_is_heard_of_where_there_is_nothing_to_send(clock: Clock, progress: Progress, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1_000_000, 3600)
    sender = Sender(spool, _Hanging(), lambda: None, progress)  # type: ignore[arg-type]
    sender.start()
    try:
        clock.now = 10_000
        until(lambda: progress.stuck() == [])
    finally:
        sender.stop()
        spool.close()
