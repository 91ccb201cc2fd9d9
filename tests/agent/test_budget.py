"""Promises of the budget: what is over it is left out in the declared order, said in runs, and taken back stepwise."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.budget import ORDER, Budget
from agent.changes import Changes
from agent.collectors.health import Delivery, Health, Watched
from agent.outbox import Outbox
from agent.runtime import Agent
from agent.schedule import Schedule
from agent.sender import Sender
from agent.settings import ServerSettings, Settings, TargetSettings
from agent.spool import Spool
from agent.targets.server import ServerTarget
from agent.transports.http import ServerClient
from contracts.batch import Run, Status
from contracts.document import BudgetSettings, Document, MetricSettings
from contracts.metrics import CATALOGUE, CLUSTER, METRICS, Scope
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Watched as WatchedServer
from tests.agent.targets.watching import watched

#: What there is to leave out, in the declared order.
COLLECTED = tuple(metric for metric in ORDER if metric in CATALOGUE)
ESSENTIAL = tuple(metric.name for metric in METRICS if metric.name not in ORDER)
UNBOUND = BudgetSettings(cpu_share=None, database_share=None, upload_bytes_per_hour=None)

#: What these allow in five minutes: 30 ms of processor time, 5,000 bytes.
CPU = UNBOUND.model_copy(update={"cpu_share": 0.0001})
UPLOAD = UNBOUND.model_copy(update={"upload_bytes_per_hour": 60_000})


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 10**9, 3600)
    yield spool
    spool.close()


@pytest.fixture
def health(spool: Spool, client: ServerClient) -> Health:
    delivery = Delivery(spool, Sender(spool, client, lambda: None), lambda: None)
    return Health(Outbox(), [Watched("host", lambda: None)], delivery)


class Minutes:
    """A budget as time passes for it, a minute at each step."""

    def __init__(self, health: Health, budget: BudgetSettings, document: Document | None = None) -> None:
        self.health = health
        self.budget = Budget(health)
        self.document = (document or Document()).model_copy(update={"budget": budget})
        self.budget.apply(self.document)
        self.now = 1000.0
        self.left_out()

    def left_out(self, target: str = "main") -> tuple[str, ...]:
        """What is refused now, in the declared order; nothing else is."""
        refused = {metric for metric in CATALOGUE if self.budget.refusal(metric, target, self.now)}
        assert refused <= set(ORDER)
        return tuple(metric for metric in ORDER if metric in refused)

    def passes(self, target: str = "main") -> tuple[str, ...]:
        self.now += 60
        return self.left_out(target)


def burn(health: Health, us: int) -> None:
    """Take that much processor time."""
    until_us = health.cpu_us() + us
    while health.cpu_us() < until_us:
        sum(range(1000))


def over_budget(run: Run) -> bool:
    """Whether it was skipped for that; a collector may have reasons of its own."""
    return run.status is Status.SKIPPED and (run.detail or "").startswith("budget.")


def put(spool: Spool, size: int) -> None:
    spool.put(lambda *_: b"x" * size, 1, {})


def test_the_order_names_metrics_of_the_catalogue_each_once() -> None:
    assert len(set(ORDER)) == len(ORDER)
    assert set(ORDER) - set(CATALOGUE) == set()


def test_what_whoever_is_on_call_needs_is_never_left_out() -> None:
    needed = {"activity", "blocking", "database_stats", "replication", "xid_age", "log_event"}
    assert not (needed | {metric.name for metric in METRICS if metric.scope is Scope.HOST}) & set(ORDER)


def test_processor_time_over_the_budget_leaves_one_metric_out_after_the_other(health: Health) -> None:
    agent = Minutes(health, CPU)
    for left_out in range(len(COLLECTED) + 1):
        for _ in range(4):
            burn(health, 10_000)
            assert agent.passes() == COLLECTED[:left_out]
        burn(health, 10_000)
        expected = COLLECTED[: left_out + 1]
        assert agent.passes() == agent.left_out("host") == expected
    why = agent.budget.refusal(COLLECTED[0], "main", agent.now) or ""
    told = re.fullmatch(r"budget.cpu_share was exceeded: (\S+), of 0.0001 allowed; left out: (.+)", why)
    assert told is not None
    assert float(told[1]) > 0.0001
    assert tuple(told[2].split(", ")) == COLLECTED


def test_what_was_left_out_last_comes_back_first(health: Health, spool: Spool) -> None:
    agent = Minutes(health, UPLOAD)
    put(spool, 6_000)
    for _ in range(4):
        assert agent.passes() == ()
    assert agent.passes() == COLLECTED[:1]
    put(spool, 6_000)
    for _ in range(5):
        left_out = agent.passes()
    assert left_out == COLLECTED[:2]
    for steps in (1, 0, 0):
        for _ in range(5):
            left_out = agent.passes()
        assert left_out == COLLECTED[:steps]


def test_bytes_are_judged_by_their_average_and_a_little_ease_does_not_bring_a_metric_back(
    health: Health, spool: Spool
) -> None:
    agent = Minutes(health, UPLOAD)
    put(spool, 4_999)  # of 5,000 in five minutes
    for _ in range(6):
        assert agent.passes() == ()
    put(spool, 5_001)
    for _ in range(5):
        left_out = agent.passes()
    assert left_out == COLLECTED[:1]
    assert "budget.upload_bytes_per_hour was exceeded: 60012, of 60000 allowed" in (
        agent.budget.refusal(COLLECTED[0], "main", agent.now) or ""
    )
    for _ in range(3):  # 4,000 in each five minutes
        put(spool, 4_000)
        for _ in range(5):
            assert agent.passes() == COLLECTED[:1]


def test_what_is_sent_again_or_late_is_not_held_against_the_collectors(health: Health, spool: Spool) -> None:
    for _ in range(10):
        put(spool, 6_000)
    agent = Minutes(health, UPLOAD)
    for _ in range(6):
        for entry in spool.entries()[:2]:
            spool.done(entry)
        assert agent.passes() == ()


def test_a_batch_an_hour_is_judged_by_hours(health: Health, spool: Spool) -> None:
    agent = Minutes(health, UPLOAD, Document(upload_every_seconds=3600))
    for minute in range(5 * 60):
        if minute % 60 == 0:
            put(spool, 60_000)
        assert agent.passes() == ()
    put(spool, 61_000)
    for _ in range(60):
        left_out = agent.passes()
    assert left_out == COLLECTED[:1]


def test_time_in_queries_is_each_targets_own(server: EmbeddedPostgres) -> None:
    outbox = Outbox()
    with watched(server.dsn()) as busy, watched(server.dsn()) as idle:
        health = Health(outbox, [Watched("busy", busy.target.cost), Watched("idle", idle.target.cost)])
        agent = Minutes(health, UNBOUND.model_copy(update={"database_share": 0.000_001}))

        def ask(watching: WatchedServer, us: int) -> None:
            until_ns = watching.target.cost().time_ns + us * 1000
            while watching.target.cost().time_ns < until_ns:
                assert watching.run(CLUSTER).status is Status.OK

        for _ in range(5):
            ask(busy, 61)
            agent.passes()
        assert agent.left_out("busy") == COLLECTED[:1]
        assert agent.left_out("idle") == ()
        why = agent.budget.refusal(COLLECTED[0], "busy", agent.now) or ""
        assert why.startswith("budget.database_share of busy was exceeded: ")
        for _ in range(5):
            agent.passes()
        assert agent.left_out("busy") == ()


def test_another_document_is_obeyed_at_once(health: Health, spool: Spool) -> None:
    agent = Minutes(health, UPLOAD)
    put(spool, 6_000)
    for _ in range(5):
        agent.passes()
    assert agent.left_out() == COLLECTED[:1]
    for bound, left_out in ((30_000, COLLECTED[:1]), (120_000, ()), (None, ())):
        budget = UNBOUND.model_copy(update={"upload_bytes_per_hour": bound})
        agent.budget.apply(agent.document.model_copy(update={"budget": budget}))
        assert agent.left_out() == left_out


def test_a_metric_that_is_switched_off_is_not_left_out_any_more(health: Health, spool: Spool) -> None:
    agent = Minutes(health, UPLOAD)
    put(spool, 6_000)
    for _ in range(5):
        agent.passes()
    metrics = {COLLECTED[0]: MetricSettings(enabled=False)}
    agent.budget.apply(agent.document.model_copy(update={"metrics": metrics}))
    assert agent.left_out() == ()


def test_what_is_off_anyway_is_not_left_out_in_vain(health: Health, spool: Spool) -> None:
    off = Document(metrics={COLLECTED[0]: MetricSettings(enabled=False)})
    agent = Minutes(health, UPLOAD, off)
    put(spool, 6_000)
    for _ in range(5):
        agent.passes()
    assert agent.left_out() == COLLECTED[1:2]


def test_what_is_left_out_leaves_a_run_that_says_why(
    server: EmbeddedPostgres, health: Health, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.schedule._SPREAD_SECONDS", 0.01)
    agent = Minutes(health, UPLOAD)
    put(spool, 6_000)
    for _ in range(5):
        agent.passes()
    outbox = Outbox()
    target = ServerTarget(TargetSettings(name="main", dsn=server.dsn()), Changes(), outbox)
    schedule = Schedule([target], outbox, lambda metric, name: agent.budget.refusal(metric, name, agent.now))
    schedule.apply(Document())
    found: dict[str, Run] = {}

    def all_ran() -> bool:
        found.update({run.collector: run for run in outbox.take().runs})
        return set(found) == {collector.metric.name for collector in target.collectors()}

    schedule.start()
    try:
        until(all_ran)
    finally:
        schedule.stop()
        target.close()
    skipped = {name: run for name, run in found.items() if over_budget(run)}
    assert set(skipped) == {COLLECTED[0]}
    run = skipped[COLLECTED[0]]
    assert run.detail == agent.budget.refusal(COLLECTED[0], "main", agent.now)
    assert (run.target, run.rows, run.duration_us) == ("main", 0, 0)


def test_threads_that_ask_at_once_measure_once_a_period(health: Health, spool: Spool) -> None:
    agent = Minutes(health, UPLOAD)
    put(spool, 6_000)
    for _ in range(4):
        agent.now += 60
        threads = [threading.Thread(target=agent.left_out) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert agent.left_out() == ()
    assert agent.passes() == COLLECTED[:1]


def test_a_running_agent_measures_itself(
    server: EmbeddedPostgres, tmp_path: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.schedule._SPREAD_SECONDS", 0.01)
    monkeypatch.setattr("agent.budget._PERIOD_SECONDS", 1.0)
    agent = Agent(
        Settings(
            agent_id="db-1",
            state_directory=tmp_path / "state",
            server=ServerSettings(url="http://127.0.0.1:1", token_file=token_file),
            targets=(TargetSettings(name="main", dsn=server.dsn()),),
        )
    )
    often = {metric.name: MetricSettings(every_seconds=1) for metric in METRICS}
    budget = UNBOUND.model_copy(update={"cpu_share": 0.000_001})
    agent._apply(Document(upload_every_seconds=1, budget=budget, metrics=often))
    skipped: list[Run] = []

    def one_is_left_out() -> bool:
        skipped.extend(run for run in agent._outbox.take().runs if over_budget(run))
        return bool(skipped)

    agent._schedule.start()
    try:
        until(one_is_left_out)
    finally:
        agent._schedule.stop()
        for target in agent._targets:
            target.close()
        agent._spool.close()
    assert skipped[0].collector == COLLECTED[0]
    assert "budget.cpu_share was exceeded" in (skipped[0].detail or "")
