"""The agent's figures of itself agree with the kernel, with its spool, with what its server answered."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

import psutil
import psycopg
import pytest

from agent.collectors.health import Delivery, Health, Watched
from agent.outbox import Outbox
from agent.postgres.cost import Cost
from agent.sender import Sender, Uploads
from agent.settings import ServerSettings
from agent.spool import Spool
from agent.targets.itself import AgentTarget
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered
from contracts.batch import Frame, Run, Status
from contracts.document import DatabaseSettings, Document
from contracts.metrics import AGENT_HEALTH, AGENT_TARGET, CLUSTER, DATABASE_STATS, TABLE_STATS, Metric
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.door import Answer, Asked, Door, problem
from tests.agent.polling import until
from tests.agent.targets.watching import databases, rows_of, watched

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
MAX_BYTES = 1000


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", MAX_BYTES, 3600)
    yield spool
    spool.close()


@pytest.fixture
def sender(spool: Spool, client: ServerClient) -> Sender:
    return Sender(spool, client, lambda: None)


@pytest.fixture
def health(spool: Spool, sender: Sender, client: ServerClient) -> Health:
    return Health(Outbox(), (), Delivery(spool, sender, lambda: client.skew_us))


def figures(health: Health) -> dict[str, int]:
    """The row of AGENT_HEALTH."""
    (row,) = health.agent()
    return dict(zip(AGENT_HEALTH.names, row, strict=True))  # type: ignore[arg-type]


def packed(content: bytes) -> bytes:
    """What a sender does not take for damaged."""
    return gzip.compress(content, mtime=0)


def put(spool: Spool, content: bytes, at: int | None = None) -> None:
    spool.put(lambda *_: content, at or time.time_ns() // 1000, {})


def processor_us() -> int:
    times = psutil.Process().cpu_times()
    return round((times.user + times.system) * 1_000_000)


def test_processor_time_is_that_of_the_kernel_and_grows_with_work(health: Health) -> None:
    before = processor_us()
    first = figures(health)["cpu_us"]
    assert before - 2 * TICK_US <= first
    while processor_us() < before + 10 * TICK_US:
        sum(range(10_000))
    second = figures(health)["cpu_us"]
    assert second - first >= 8 * TICK_US
    assert second <= processor_us() + 2 * TICK_US


def test_threads_files_and_memory_are_those_of_the_process(health: Health) -> None:
    release = threading.Event()
    before = figures(health)
    with ExitStack() as opened:
        threads = [threading.Thread(target=release.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            opened.enter_context(Path("/dev/null").open("rb"))
        ballast = os.urandom(64_000_000)
        after = figures(health)
        release.set()
        for thread in threads:
            thread.join()
    assert after["threads"] - before["threads"] == 3
    assert after["open_files"] - before["open_files"] == 5
    assert after["rss_bytes"] - before["rss_bytes"] >= len(ballast) * 0.9
    assert before["started_at"] == after["started_at"] == round(psutil.Process().create_time() * 1_000_000)


def test_what_waits_is_what_lies_in_the_spool(health: Health, spool: Spool, tmp_path: Path) -> None:
    empty = figures(health)
    assert [empty[name] for name in ("spool_batches", "spool_bytes", "spool_oldest_us")] == [0, 0, None]
    now = time.time_ns() // 1000
    put(spool, b"x" * 100, at=now - 60_000_000)
    put(spool, b"x" * 50, at=now)
    found = figures(health)
    files = list((tmp_path / "spool").glob("*.json.gz"))
    assert found["spool_batches"] == len(files) == 2
    assert found["spool_bytes"] == found["spooled_bytes"] == sum(file.stat().st_size for file in files) == 150
    assert 60_000_000 <= found["spool_oldest_us"] <= time.time_ns() // 1000 - (now - 60_000_000)
    assert (found["dropped_batches"], found["dropped_bytes"]) == (0, 0)


def test_a_clock_that_was_set_back_gives_no_age_below_zero(health: Health, spool: Spool) -> None:
    put(spool, b"x", at=time.time_ns() // 1000 + 3_600_000_000)
    assert figures(health)["spool_oldest_us"] == 0


def test_what_made_room_and_what_was_too_old_counts_as_dropped(health: Health, spool: Spool) -> None:
    put(spool, b"x" * 300, at=1)
    put(spool, b"x" * 400)  # the first one is too old by now
    put(spool, b"x" * 500)
    put(spool, b"x" * 600)  # no room for the two before
    found = figures(health)
    assert (found["dropped_batches"], found["dropped_bytes"]) == (3, 1200)
    assert (found["spooled_bytes"], found["spool_bytes"], found["spool_batches"]) == (1800, 600, 1)


def test_uploads_are_counted_by_what_the_server_answered(
    health: Health, spool: Spool, sender: Sender, open_door: Door
) -> None:
    answers = {
        packed(b"taken"): Answer(202),
        packed(b"conflict"): problem(409, "in flight"),
        packed(b"busy"): Answer(503, {"Retry-After": "1"}),
        packed(b"refused"): problem(422, "frames: no"),
    }

    def answer(asked: Asked) -> Answer:
        return answers[asked.body]

    open_door.answer = answer
    for content in answers:
        put(spool, content)
    for entry in spool.entries():
        sender.send(entry)
    assert sender.uploads == Uploads(accepted=1, later=2, rejected=1, sent_bytes=sum(map(len, answers)))
    found = figures(health)
    assert found["sent_bytes"] == sum(len(asked.body) for asked in open_door.asked)
    names = ("accepted", "duplicate", "later", "rejected", "failed")
    assert [found[f"uploads_{name}"] for name in names] == [1, 0, 2, 1, 0]
    assert (found["spool_batches"], found["set_aside_batches"]) == (2, 1)


def test_an_upload_without_an_answer_has_failed_and_sent_nothing(
    spool: Spool, token_file: Path, client: ServerClient
) -> None:
    nobody = Sender(spool, ServerClient(ServerSettings(url="http://127.0.0.1:1", token_file=token_file)), lambda: None)
    put(spool, packed(b"x"))
    (entry,) = spool.entries()
    nobody.send(entry)
    token_file.unlink()
    tokenless = Sender(spool, client, lambda: None)
    tokenless.send(entry)
    assert nobody.uploads == tokenless.uploads == Uploads(failed=1)


def test_what_the_other_end_had_already_is_told_apart() -> None:
    once = Uploads().and_one(Delivered(), 10)
    assert once.and_one(Delivered(already=True), 10) == Uploads(accepted=1, duplicate=1, sent_bytes=20)


def test_the_skew_is_not_known_before_the_server_answered(
    health: Health, spool: Spool, sender: Sender, open_door: Door
) -> None:
    assert figures(health)["clock_skew_us"] is None
    open_door.answer = lambda _: Answer(202, {"Date": formatdate(time.time() - 3600, usegmt=True)})
    put(spool, packed(b"x"))
    sender.send(spool.entries()[0])
    assert 3_598_000_000 <= figures(health)["clock_skew_us"] <= 3_660_000_000


def test_without_a_delivery_its_figures_are_not_known() -> None:
    (row,) = Health(Outbox(), ()).agent()
    known = AGENT_HEALTH.names.index("spool_batches")
    assert None not in row[:known]
    assert set(row[known:]) == {None}


def test_there_is_a_counter_for_each_outcome_of_a_run() -> None:
    assert [name for name in AGENT_TARGET.names if name.startswith("runs_")] == [f"runs_{status}" for status in Status]


def test_runs_are_counted_by_target_and_outcome_whatever_batch_took_them() -> None:
    outbox = Outbox()
    health = Health(outbox, [Watched("host", lambda: None), Watched("main", lambda: None)])
    for number, status in enumerate(Status):
        for _ in range(number + 1):
            outbox.put(Run(collector="x", target="main", started_at=1, duration_us=0, status=status))
        outbox.take()
    host, main = health.targets()
    assert main[0] == "main"
    assert list(main[-len(Status) :]) == list(range(1, len(Status) + 1))
    assert set(host[1:5]) == {None}
    assert not any(host[5:])


def test_queries_and_their_time_are_those_that_the_server_saw(server: EmbeddedPostgres) -> None:
    role = f"counted_{os.getpid()}"
    with (
        databases(server, "watched", "seen_from") as (name, elsewhere),
        psycopg.connect(server.dsn(elsewhere), autocommit=True) as admin,
    ):
        admin.execute("create extension pg_stat_statements")
        admin.execute(f"create role {role} login in role pg_monitor".encode())
        try:
            began = time.perf_counter_ns()
            with watched(server.dsn(name, user=role)) as watching:
                watching.target.apply(Document(databases=DatabaseSettings(include=(name,))))
                statuses = {
                    watching.run(metric).status for metric in (CLUSTER, DATABASE_STATS, TABLE_STATS, TABLE_STATS)
                }
                cost = watching.target.cost()
                took_ns = time.perf_counter_ns() - began
            seen = admin.execute(
                "select calls, total_exec_time * 1e6 from pg_stat_statements s"
                " join pg_roles r on r.oid = s.userid where rolname = %s and query !~ 'set_config'",
                (role,),
            ).fetchall()
            assert statuses <= {Status.OK, Status.EMPTY}
            assert (cost.connections, cost.errors) == (2, 0)
            assert cost.queries == sum(int(calls) for calls, _ in seen)
            assert sum(float(spent) for _, spent in seen) <= cost.time_ns <= took_ns

            def sessions() -> int:
                view = "select sessions from pg_stat_database where datname = %s"
                return int((admin.execute(view, (name,)).fetchone() or (0,))[0])

            until(lambda: sessions() == 2)
        finally:
            admin.execute(f"drop role {role}".encode())


def test_the_time_of_queries_adds_up() -> None:
    cost, spent_ns = Cost(), 0
    for _ in range(3):
        with cost.asking():
            began = time.perf_counter_ns()
            sum(range(10_000))
            spent_ns += time.perf_counter_ns() - began
    assert cost.time_ns >= spent_ns
    assert cost + cost == Cost(queries=6, time_ns=2 * cost.time_ns)


def test_a_server_that_is_away_costs_errors_and_no_time() -> None:
    with watched("host=127.0.0.1 port=1") as watching:
        for _ in range(2):
            assert watching.run(CLUSTER).status is Status.ERROR
        cost = watching.target.cost()
    assert (cost.connections, cost.queries, cost.errors, cost.time_ns) == (0, 0, 2, 0)


def test_a_query_that_fails_is_an_error_and_the_next_connection_counts(server: EmbeddedPostgres) -> None:
    with (
        databases(server, "cut") as (name,),
        watched(server.dsn(name)) as watching,
        psycopg.connect(server.dsn(), autocommit=True) as admin,
    ):
        assert watching.run(CLUSTER).status is Status.OK
        admin.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s", (name,))
        assert watching.run(CLUSTER).status is Status.ERROR
        assert watching.run(CLUSTER).status is Status.OK
        cost = watching.target.cost()
    assert (cost.connections, cost.queries, cost.errors) == (2, 3, 1)


@pytest.mark.parametrize("metric", [AGENT_HEALTH, AGENT_TARGET], ids=lambda metric: metric.name)
def test_a_frame_is_of_the_host_and_of_one_epoch_as_long_as_the_agent_runs(health: Health, metric: Metric) -> None:
    def frames(target: AgentTarget, outbox: Outbox) -> Iterator[Frame]:
        (collector,) = (each for each in target.collectors() if each.metric is metric)
        for _ in range(2):
            target.collect(collector)
        contents = outbox.take()
        assert {run.status for run in contents.runs} <= {Status.OK, Status.EMPTY}
        yield from contents.frames

    first, second = Outbox(), Outbox()
    one = list(frames(AgentTarget(first, health), first))
    other = list(frames(AgentTarget(second, health), second))
    assert {frame.target for frame in one + other} == {"host"}
    assert len({frame.epoch for frame in one}) == len({frame.epoch for frame in other}) == 1
    assert one[0].epoch != other[0].epoch


def test_rows_tell_targets_apart() -> None:
    outbox = Outbox()
    target = AgentTarget(outbox, Health(outbox, [Watched("host", lambda: None), Watched("main", lambda: None)]))
    (collector,) = (each for each in target.collectors() if each.metric is AGENT_TARGET)
    target.collect(collector)
    target.collect(collector)
    _, second = outbox.take().frames
    assert set(rows_of(second)) == {"host", "main"}
    assert rows_of(second)["host"]["runs_ok"] == 1
