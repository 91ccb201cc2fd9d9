"""Promises of a running agent: it uploads, obeys the configuration at once, and ends with everything spooled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from contracts.batch import Batch, Columns, ConfigState, Status
from contracts.codec import decode
from contracts.metrics import METRICS, Scope
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.door import Answer, Asked, Door, configuration
from tests.agent.polling import until
from tests.agent.program import Agent, target
from tests.servers import NewServer

pytestmark = pytest.mark.processes

QUICK = {"upload_every_seconds": 1, "pull_every_seconds": 3600}
FAST = {metric.name: {"every_seconds": 1} for metric in METRICS}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


@pytest.fixture
def sessions(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        yield connection


def agents_sessions(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select count(*) from pg_stat_activity where application_name = 'pganalytics-agent'"
    ).fetchone()
    return int(row[0]) if row else 0


def uploaded(door: Door) -> list[Batch]:
    return [decode(asked.body) for asked in door.asked if asked.path == "/v1/batches"]


def spooled(agent: Agent) -> list[Batch]:
    return [decode(path.read_bytes()) for path in sorted((agent.state / "spool").glob("*.json.gz"))]


def answering(version: int, document: dict[str, object]) -> object:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/batches":
            return Answer(202)
        etag = f'"{version}"'
        return Answer(304) if asked.headers["If-None-Match"] == etag else configuration(version, document, etag)

    return answer


def test_a_running_agent_uploads_in_order_obeys_sighup_and_leaves_no_session(
    agent: Agent, server: EmbeddedPostgres, open_door: Door, sessions: psycopg.Connection
) -> None:
    open_door.answer = answering(1, {**QUICK, "metrics": FAST})  # type: ignore[assignment]
    agent.write(target(server.dsn()), url=open_door.url)
    with agent.running() as process:
        until(lambda: {run.collector for batch in uploaded(open_door) for run in batch.runs} >= {
            metric.name for metric in METRICS if metric.name != "log_event"
        })  # fmt: skip
        assert 1 <= agents_sessions(sessions) <= 2
        off = {metric.name: {"enabled": False} for metric in METRICS if metric.scope is not Scope.CLUSTER}
        open_door.answer = answering(2, {**QUICK, "metrics": {**FAST, **off}})  # type: ignore[assignment]
        process.send_signal(signal.SIGHUP)

        def only_what_is_on() -> bool:
            last = uploaded(open_door)[-1]
            return last.config.version == 2 and "host_cpu" not in {run.collector for run in last.runs}

        until(only_what_is_on)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    batches = uploaded(open_door)
    assert [batch.seq for batch in batches] == list(range(len(batches)))
    assert len({batch.stream_id for batch in batches}) == 1
    assert batches[-1].config.state is ConfigState.APPLIED
    assert batches[-1].clock.skew_us is not None
    runs = [run for batch in batches for run in batch.runs]
    newer = {run.collector for run in runs if "came with version" in (run.detail or "")}
    ended = {(run.collector, run.status) for run in runs if run.collector not in newer}
    # No text is asked for before statistics have told of a statement.
    ended.discard(("statement_text", Status.SKIPPED))
    assert {each for each in ended if each[1] not in {Status.OK, Status.EMPTY, Status.MISSED}} == set()
    until(lambda: agents_sessions(sessions) == 0)
    assert "Traceback" not in agent.log.read_text()


def test_an_agent_that_ends_while_the_server_is_away_keeps_everything_in_its_spool(
    agent: Agent, server: EmbeddedPostgres, open_door: Door
) -> None:
    open_door.answer = lambda asked: Answer(503) if asked.method == "POST" else configuration(1, QUICK, '"1"')
    agent.write(target(server.dsn()), url=open_door.url)
    for turn in (1, 2):
        before = len(spooled(agent))
        with agent.running() as process:
            until(lambda before=before: len(spooled(agent)) > before)  # type: ignore[misc]
            process.send_signal(signal.SIGTERM if turn == 1 else signal.SIGINT)
            assert process.wait(30) == 0
    batches = spooled(agent)
    assert [batch.seq for batch in batches] == list(range(len(batches)))
    assert len({batch.stream_id for batch in batches}) == 1
    # The first may tell of the configuration, and of nothing else yet.
    assert all(batch.runs for batch in batches[1:])

    # The server is back: what waited comes first, in order.
    open_door.answer = lambda asked: Answer(202) if asked.method == "POST" else Answer(304)
    open_door.asked.clear()
    with agent.running() as process:
        until(lambda: len(uploaded(open_door)) > len(batches))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert uploaded(open_door)[: len(batches)] == batches
    assert "a-token" not in agent.log.read_text()


def test_a_running_agent_tells_what_it_costs_and_what_became_of_its_uploads(
    agent: Agent, server: EmbeddedPostgres, open_door: Door
) -> None:
    open_door.answer = answering(1, {**QUICK, "metrics": FAST})  # type: ignore[assignment]
    agent.write("[host]\nenabled = false\n" + target(server.dsn()), url=open_door.url)

    def last(metric: str) -> Columns:
        frames = [frame for batch in uploaded(open_door) for frame in batch.frames if frame.metric == metric]
        return frames[-1].columns if frames else {}

    with agent.running() as process:
        until(lambda: last("agent_health").get("uploads_accepted", [0])[0] >= 2)
        until(lambda: last("agent_target")["runs_ok"][1] > 0)
        health, asked = last("agent_health"), last("agent_target")
        assert abs(health["started_at"][0] / 1_000_000 - psutil.Process(process.pid).create_time()) < 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert health["sent_bytes"][0] > 0
    assert health["clock_skew_us"][0] is not None
    assert asked["target"] == ["host", "main"]
    assert asked["queries"][0] is None
    assert asked["queries"][1] >= asked["runs_ok"][1] > 0
    frames = [frame for batch in uploaded(open_door) for frame in batch.frames]
    assert {frame.metric for frame in frames if frame.target == "host"} == {"agent_health", "agent_target"}
    assert len({frame.epoch for frame in frames if frame.metric == "agent_health"}) == 1


def test_two_agents_cannot_share_one_state(agent: Agent, server: EmbeddedPostgres, open_door: Door) -> None:
    open_door.answer = lambda _: Answer(503)
    agent.write(target(server.dsn()), url=open_door.url)
    with agent.running() as process:
        until((agent.state / "spool" / "stream.json").exists)
        second = agent.ask("run")
        assert second.returncode == 2
        assert "another agent has it" in second.stderr
        assert process.poll() is None


def test_a_stopped_server_delays_neither_the_host_nor_the_end(
    agent: Agent, open_door: Door, new_server: NewServer
) -> None:
    open_door.answer = answering(  # type: ignore[assignment]
        1, {**QUICK, "metrics": FAST, "statement_timeout_ms": 100}
    )
    with new_server() as server:
        agent.write(target(server.dsn()), url=open_door.url)
        with agent.running() as process:
            until(lambda: any(run.target == "main" for batch in uploaded(open_door) for run in batch.runs))
            server.stop("immediate")
            seen = len(open_door.asked)

            def goes_on() -> bool:
                runs = [run for batch in uploaded(open_door)[seen:] for run in batch.runs]
                failed = any(run.target == "main" and run.status is Status.ERROR for run in runs)
                return failed and any(run.target == "host" and run.status is Status.OK for run in runs)

            until(goes_on)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
