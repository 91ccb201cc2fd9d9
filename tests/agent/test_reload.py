"""Promises of a change of configuration: it is obeyed from the next reading on, and what it does not change goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.collectors.health import Health
from agent.configuration import Configuration, Puller
from agent.outbox import Outbox
from agent.schedule import Schedule, Target
from agent.settings import TargetSettings
from agent.targets.host import HostTarget
from agent.targets.itself import AgentTarget
from agent.targets.server import ServerTarget
from agent.transports.http import ServerClient
from contracts.batch import ConfigState, Status
from contracts.document import Document
from contracts.metrics import METRICS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.door import Answer, Asked, Door, configuration
from tests.agent.polling import until
from tests.agent.targets.watching import databases

#: Every second what the preset has on, and pulled only when the test says so.
QUICK: dict[str, Any] = {
    "pull_every_seconds": 3600,
    "databases": {"include": ["postgres"]},
    "metrics": {metric.name: {"every_seconds": 1} for metric in METRICS},
}

CAPPED = [collector for collector in COLLECTORS if isinstance(collector, Query) and collector.metric.at_most]


@dataclass
class Reloading:
    """All that a change of configuration goes through, from the door to the schedule's jobs."""

    door: Door
    outbox: Outbox
    server: ServerTarget
    schedule: Schedule
    configuration: Configuration
    puller: Puller

    def obey(self, version: int, document: dict[str, Any]) -> None:
        """Have the document pulled, and wait until it is obeyed."""

        def answer(asked: Asked) -> Answer:
            etag = f'"{version}"'
            return Answer(304) if asked.headers["If-None-Match"] == etag else configuration(version, document, etag)

        self.door.answer = answer
        self.puller.pull_now()
        until(lambda: self.configuration.state.version == version)

    def collected(self) -> Counter[str]:
        """How often each collector ran since this was asked last."""
        return Counter(run.collector for run in self.outbox.take().runs)

    def due(self) -> dict[str, datetime]:
        """When each job runs next."""
        return {job.id: job.next_run_time for job in self.schedule._scheduler.get_jobs()}


@contextmanager
def reloading(door: Door, client: ServerClient, dsn: str, folder: Path, *, paused: bool) -> Iterator[Reloading]:
    outbox = Outbox()
    server = ServerTarget(TargetSettings(name="main", dsn=dsn), Changes(), outbox)
    targets: list[Target] = [server, HostTarget(outbox), AgentTarget(outbox, Health(outbox, ()))]
    schedule = Schedule(targets, outbox)

    def apply(document: Document) -> None:
        for target in targets:
            target.apply(document)
        schedule.apply(document)

    configured = Configuration(folder / "configuration.json", apply)
    puller = Puller(configured, client)
    door.answer = lambda _: Answer(503)
    schedule._scheduler.start(paused=paused)
    puller.start()
    try:
        yield Reloading(door, outbox, server, schedule, configured, puller)
    finally:
        puller.stop()
        puller.join(30)
        schedule.stop()
        for target in targets:
            target.close()


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "minimal"},
        {"preset": "exhaustive"},
        {"preset": "rds"},
        {"metrics": {"host_cpu": {"every_seconds": 7}, "relation": {"enabled": False}}},
        {"metrics": {"table_stats": {"at_most": 7}}, "databases": {"at_most": 7}, "statement_timeout_ms": 700},
        {"databases": {"include": ["app*"]}, "logs": {"least_severity": "error", "at_most_per_minute": 7}},
        {"budget": {"cpu_share": 0.5}, "upload_every_seconds": 7, "full_every_seconds": 70, "pull_every_seconds": 700},
    ],
    ids=str,
)
def test_only_the_jobs_that_a_document_changes_are_scheduled_anew(
    open_door: Door, client: ServerClient, server: EmbeddedPostgres, tmp_path: Path, change: dict[str, Any]
) -> None:
    with reloading(open_door, client, server.dsn(), tmp_path, paused=True) as agent:
        agent.obey(1, {})
        before = agent.due()
        agent.obey(2, change)
        after = agent.due()
        for job in before:
            metric = job.partition("/")[2]
            every, changed = Document().interval(metric), Document.model_validate(change).interval(metric)
            assert (after.get(job) == before[job]) == (changed == every), job
            assert (job in after) == (changed is not None)
        agent.obey(3, {})
        assert set(agent.due()) == set(before)
        assert agent.configuration.state.state is ConfigState.APPLIED


@pytest.mark.parametrize("capped", CAPPED, ids=lambda collector: collector.metric.name)
def test_another_cap_is_obeyed_from_the_next_reading_on(
    open_door: Door, client: ServerClient, server: EmbeddedPostgres, tmp_path: Path, capped: Query
) -> None:
    name = capped.metric.name

    def runs(agent: Reloading) -> list[tuple[Status, int]]:
        agent.outbox.take()
        agent.server.collect(capped)
        return [(run.status, run.rows) for run in agent.outbox.take().runs]

    with (
        databases(server, "capped") as (database,),
        psycopg.connect(server.dsn(database), autocommit=True) as admin,
        reloading(open_door, client, server.dsn(database), tmp_path, paused=True) as agent,
    ):
        for table in ("one", "two", "three"):
            admin.execute(f"create table {table} (id int primary key)".encode())
        only: dict[str, Any] = {"databases": {"include": [database]}}
        agent.obey(1, only)
        before = runs(agent)
        agent.obey(2, only | {"metrics": {name: {"at_most": 1}}})
        after = runs(agent)
        assert [rows for _, rows in after] == [min(rows, 1) for _, rows in before]
        cut = {Status.TRUNCATED if rows > 1 else status for status, rows in before}
        assert {status for status, _ in after} == cut
        agent.obey(3, only)
        assert Status.TRUNCATED not in {status for status, _ in runs(agent)}


def test_another_preset_is_obeyed_from_the_next_reading_on(
    open_door: Door, client: ServerClient, server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.schedule._SPREAD_SECONDS", 0.01)
    with reloading(open_door, client, server.dsn(), tmp_path, paused=False) as agent:

        def rounds(*names: str) -> Counter[str]:
            """What ran until each of these did twice: lanes keep their order, so what was due before is over."""
            found: Counter[str] = Counter()

            def twice() -> bool:
                found.update(agent.collected())
                return all(found[name] >= 2 for name in names)

            until(twice)
            return found

        agent.obey(1, QUICK)
        rounds("index_stats", "table_stats", "host_cpu", "agent_health")
        agent.obey(2, QUICK | {"preset": "minimal"})
        rounds("table_stats", "host_cpu", "agent_health")
        assert "index_stats" not in rounds("table_stats", "host_cpu", "agent_health")
        agent.obey(3, QUICK | {"preset": "rds"})
        rounds("index_stats", "table_stats", "agent_health")
        assert not {"host", "host_cpu"} & set(rounds("index_stats", "table_stats", "agent_health"))
