"""Promises of the schedule: a job for each collector and target, changed only where the document
does, nobody in the way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.job import Job

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Collector, Query
from agent.outbox import Outbox
from agent.schedule import Schedule
from contracts.batch import Run, Status
from contracts.document import Document, MetricSettings
from contracts.metrics import CLUSTER, DATABASE, TABLE_STATS
from tests.agent.polling import until

WATCHED = tuple(
    collector for collector in COLLECTORS if isinstance(collector, Query) and collector.metric in (CLUSTER, DATABASE)
)
EVERY_SECOND = Document(metrics={metric.name: MetricSettings(every_seconds=1) for metric in (CLUSTER, DATABASE)})


class Fake:
    """A target whose collectors do what the test says."""

    def __init__(self, name: str, work: Callable[[Collector], None] = lambda _: None) -> None:
        self.name = name
        self.work = work
        self.collected: list[str] = []

    def collectors(self) -> tuple[Collector, ...]:
        return WATCHED

    def lane(self, collector: Collector) -> str:  # noqa: ARG002 - the protocol has it
        return f"{self.name}:cluster"

    def collect(self, collector: Collector) -> None:
        self.work(collector)
        self.collected.append(collector.metric.name)

    def apply(self, document: Document) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


Make = Callable[..., Schedule]


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def make(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr("agent.schedule._SPREAD_SECONDS", 0.01)
    made: list[Schedule] = []

    def schedule(*targets: Fake) -> Schedule:
        made.append(Schedule(targets, outbox))
        return made[-1]

    yield schedule
    for schedule_ in made:
        if schedule_._scheduler.running:
            schedule_.stop()


def jobs(schedule: Schedule) -> dict[str, Job]:
    return {job.id: job for job in schedule._scheduler.get_jobs()}


def test_there_is_a_job_for_each_collector_and_target(make: Make) -> None:
    schedule = make(Fake("a"), Fake("b"))
    schedule.apply(Document())
    schedule._scheduler.start(paused=True)
    found = jobs(schedule)
    assert set(found) == {"a/cluster", "a/database", "b/cluster", "b/database"}
    for job in found.values():
        assert job.trigger.interval == timedelta(seconds=300)
        assert (job.max_instances, job.coalesce, job.misfire_grace_time) == (1, True, 150)


def test_the_first_executions_are_spread(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.schedule._SPREAD_SECONDS", 10.0)
    schedule = make(*(Fake(f"t{number}") for number in range(20)))
    schedule.apply(Document())
    schedule._scheduler.start(paused=True)
    firsts = {job.next_run_time for job in jobs(schedule).values()}
    now = datetime.now(UTC)
    assert len(firsts) == 40
    assert max(firsts) - min(firsts) > timedelta(seconds=3)
    assert all(first < now + timedelta(seconds=10) for first in firsts)


def test_a_document_touches_only_the_jobs_that_it_changes(make: Make) -> None:
    schedule = make(Fake("a"), Fake("b"))
    schedule._scheduler.start(paused=True)
    schedule.apply(Document())
    before = {name: job.next_run_time for name, job in jobs(schedule).items()}

    schedule.apply(Document(metrics={"database": MetricSettings(every_seconds=60)}, upload_every_seconds=1))
    after = jobs(schedule)
    assert {name for name, job in after.items() if job.next_run_time == before[name]} == {"a/cluster", "b/cluster"}
    assert after["a/database"].trigger.interval == timedelta(seconds=60)

    schedule.apply(Document(metrics={"cluster": MetricSettings(enabled=False)}))
    assert set(jobs(schedule)) == {"a/database", "b/database"}
    schedule.apply(Document())
    assert set(jobs(schedule)) == set(before)


def test_a_metric_that_is_off_is_not_read_and_comes_back(make: Make) -> None:
    target = Fake("a")
    schedule = make(target)
    schedule.apply(Document(metrics={"cluster": MetricSettings(enabled=False)}))
    schedule.start()
    until(lambda: "database" in target.collected)
    assert "cluster" not in target.collected
    schedule.apply(Document())
    until(lambda: "cluster" in target.collected)


def test_a_metric_of_the_future_changes_nothing(make: Make) -> None:
    schedule = make(Fake("a"))
    schedule.apply(Document(metrics={TABLE_STATS.name: MetricSettings(every_seconds=1), "x": MetricSettings()}))
    assert set(jobs(schedule)) == {"a/cluster", "a/database"}


def runs(outbox: Outbox, found: list[Run]) -> list[Run]:
    found.extend(outbox.take().runs)
    return found


def test_an_execution_that_overruns_leaves_missed_runs(make: Make, outbox: Outbox) -> None:
    release = threading.Event()
    schedule = make(Fake("slow", lambda _: release.wait(30) and None))  # type: ignore[arg-type]
    schedule.apply(EVERY_SECOND)
    schedule.start()
    found: list[Run] = []
    until(lambda: runs(outbox, found))
    release.set()
    assert {run.status for run in found} == {Status.MISSED}
    assert found[0].target == "slow"
    assert found[0].detail == "the execution before has not ended yet"


def test_a_target_that_hangs_delays_no_other(make: Make) -> None:
    release, entered = threading.Event(), threading.Event()

    def hang(_: Collector) -> None:
        entered.set()
        release.wait(60)

    healthy = Fake("healthy")
    schedule = make(Fake("hanging", hang), healthy)
    schedule.apply(EVERY_SECOND)
    schedule.start()
    until(entered.is_set)
    before = len(healthy.collected)
    until(lambda: len(healthy.collected) >= before + 4)
    release.set()


def test_a_collector_that_fails_leaves_a_run(make: Make, outbox: Outbox) -> None:
    def fail(collector: Collector) -> None:
        if collector.metric is CLUSTER:
            raise RuntimeError("a fault of ours")

    target = Fake("a", fail)
    schedule = make(target)
    schedule.apply(Document())
    schedule.start()
    found: list[Run] = []
    until(lambda: runs(outbox, found))
    until(lambda: target.collected == ["database"])
    assert (found[0].collector, found[0].status) == ("cluster", Status.ERROR)
    assert found[0].detail == "RuntimeError: a fault of ours"


def test_the_end_waits_for_what_runs(make: Make) -> None:
    entered, release = threading.Event(), threading.Event()

    def work(collector: Collector) -> None:
        entered.set()
        release.wait(30)

    target = Fake("a", work)
    schedule = make(target)
    schedule.apply(Document())
    schedule.start()
    until(entered.is_set)
    stopping = threading.Thread(target=schedule.stop)
    stopping.start()
    release.set()
    stopping.join(30)
    assert not stopping.is_alive()
    assert target.collected
