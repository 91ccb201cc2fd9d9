"""Promises of `activity`: who does what, waiting for what, since when; and what is hidden is not counted as nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest

from contracts.batch import Status
from contracts.document import Document, MetricSettings
from contracts.metrics import ACTIVITY
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.queries.acting import Row, ask, clock, pid, read, role, session, value
from tests.agent.targets.watching import Watched, watched

#: What the views say of an instant of a session, in microseconds since 1970.
SINCE = "select (extract(epoch from {}) * 1000000)::bigint from pg_stat_activity where pid = %s"


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn()) as connection:
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(server.dsn()) as one:
        yield one


@pytest.fixture
def application() -> str:
    """An application name that nobody else has."""
    return f"pool {uuid4().hex[:8]}"


def of(application: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["application_name"] == application]


def test_sessions_that_do_the_same_are_one_row(
    server: EmbeddedPostgres, watching: Watched, admin: psycopg.Connection, application: str
) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(session(server.dsn(), application)).execute("select 1")
        stack.enter_context(session(server.dsn(), application)).execute("begin")
        rows = of(application, read(watching, ACTIVITY))
    assert {row["state"]: row["sessions"] for row in rows} == {"idle": 3, "idle in transaction": 1}
    assert {(row["wait_event_type"], row["wait_event"]) for row in rows} == {("Client", "ClientRead")}
    assert {(row["usename"], row["backend_type"]) for row in rows} == {("postgres", "client backend")}
    datid = value(admin, "select oid from pg_database where datname = 'postgres'")
    usesysid = value(admin, "select oid from pg_roles where rolname = 'postgres'")
    assert {(row["datid"], row["usesysid"]) for row in rows} == {(datid, usesysid)}


def test_a_group_has_the_age_of_its_oldest_transaction_and_tells_whose_it_is(
    server: EmbeddedPostgres, watching: Watched, admin: psycopg.Connection, application: str
) -> None:
    with session(server.dsn(), application) as older, session(server.dsn(), application) as younger:
        # Whoever came last has the older transaction.
        younger.execute("begin; select 'first'")
        older.execute("begin; select 'second'")
        younger.execute("rollback; begin; select 'third'")
        began = value(admin, SINCE.format("xact_start"), pid(older))
        idle_since = value(admin, SINCE.format("state_change"), pid(older))
        before = clock(admin)
        (row,) = of(application, read(watching, ACTIVITY))
        after = clock(admin)
        assert (row["state"], row["sessions"], row["oldest_pid"]) == ("idle in transaction", 2, pid(older))
    assert before - began <= row["oldest_xact_us"] <= after - began
    assert before - idle_since <= row["longest_in_state_us"] <= after - idle_since
    assert row["oldest_query_us"] is None


def test_a_running_query_has_its_age_its_wait_and_its_identifier(
    server: EmbeddedPostgres, watching: Watched, admin: psycopg.Connection, application: str
) -> None:
    with session(server.dsn(), application) as sleeper:
        ask(sleeper, "set compute_query_id = on; select pg_sleep(600)")
        waits = "select wait_event is not distinct from 'PgSleep' from pg_stat_activity where pid = %s"
        until(lambda: value(admin, waits, pid(sleeper)))
        began = value(admin, SINCE.format("query_start"), pid(sleeper))
        before = clock(admin)
        (row,) = of(application, read(watching, ACTIVITY))
        after = clock(admin)
        identifier = value(admin, "select query_id from pg_stat_activity where pid = %s", pid(sleeper))
        sleeper.cancel_safe()
    assert (row["state"], row["wait_event_type"], row["wait_event"]) == ("active", "Timeout", "PgSleep")
    assert before - began <= row["oldest_query_us"] <= after - began
    assert row["oldest_query_id"] == identifier is not None


def test_a_snapshot_that_holds_vacuum_back_has_its_age(
    server: EmbeddedPostgres, watching: Watched, admin: psycopg.Connection, application: str
) -> None:
    with session(server.dsn(), application) as holder:
        holder.execute("begin isolation level repeatable read; select count(*) from pg_class")
        for _ in range(5):
            admin.execute("select txid_current()")
        age = "select age(backend_xmin) from pg_stat_activity where pid = %s"
        low = value(admin, age, pid(holder))
        (row,) = of(application, read(watching, ACTIVITY))
        assert 5 <= low <= row["oldest_xmin_age"] <= value(admin, age, pid(holder))


def test_every_session_is_counted_but_the_agent_and_what_idles_in_the_background(
    server: EmbeddedPostgres, watching: Watched, admin: psycopg.Connection
) -> None:
    expected = """
        select count(*)
        from pg_stat_activity
        where application_name <> 'pganalytics-agent'
            and (state is not null or wait_event_type is distinct from 'Activity')
    """
    counts: list[tuple[int, int]] = []

    def agree() -> bool:
        counts.append((sum(row["sessions"] for row in read(watching, ACTIVITY)), value(admin, expected)))
        return counts[-1][0] == counts[-1][1]

    until(agree)
    rows = read(watching, ACTIVITY)
    assert len({row["oldest_pid"] for row in rows}) == len(rows)


def test_who_only_takes_the_agents_name_is_counted(server: EmbeddedPostgres, watching: Watched) -> None:
    with role(server) as name:
        with session(server.dsn(user=name), "pganalytics-agent"), session(server.dsn(), "pganalytics-agent"):
            rows = of("pganalytics-agent", read(watching, ACTIVITY))
        assert [(row["usename"], row["sessions"]) for row in rows] == [(name, 1)]


def test_a_role_without_rights_does_not_read_that_nobody_is_active(
    server: EmbeddedPostgres, admin: psycopg.Connection, application: str
) -> None:
    with session(server.dsn(), application) as busy, role(server) as humble, role(server, "pg_monitor") as monitor:
        busy.execute("begin")
        with watched(server.dsn(user=humble)) as watching:
            (row,) = of(application, read(watching, ACTIVITY))
            run = watching.run(ACTIVITY)
        assert (row["sessions"], row["oldest_pid"], row["usename"]) == (1, pid(busy), "postgres")
        assert {row[name] for name in ("state", "backend_type", "wait_event", "oldest_xact_us", "oldest_query_id")} == {
            None
        }
        assert run.status is Status.PERMISSION
        assert "grant pg_monitor" in (run.detail or "")
        with watched(server.dsn(user=monitor)) as watching:
            (row,) = of(application, read(watching, ACTIVITY))
            assert watching.run(ACTIVITY).status is Status.OK
        assert (row["state"], row["backend_type"]) == ("idle in transaction", "client backend")


def test_above_the_cap_the_idle_go_first_and_the_run_tells_how_many(
    server: EmbeddedPostgres, watching: Watched, application: str
) -> None:
    with ExitStack() as stack:
        for number in range(5):
            stack.enter_context(session(server.dsn(), f"{application} {number}")).execute("select 1")
        stack.enter_context(session(server.dsn(), application)).execute("begin")
        every = read(watching, ACTIVITY)
        busy = [row["oldest_pid"] for row in every if row["state"] != "idle"]
        watching.target.apply(Document(metrics={"activity": MetricSettings(at_most=len(busy) + 1)}))
        rows = read(watching, ACTIVITY)
        run = watching.run(ACTIVITY)
    assert {row["oldest_pid"] for row in rows} > {row["oldest_pid"] for row in of(application, every)}
    assert len(rows) == len(busy) + 1
    assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, len(rows), len(every))


def test_what_is_asked_never_travels(server: EmbeddedPostgres, watching: Watched) -> None:
    with session(server.dsn(), "asks") as asking:
        asking.execute("select 'a secret literal'")
        assert of("asks", read(watching, ACTIVITY))
        assert "secret" not in repr(watching.frame(ACTIVITY))
