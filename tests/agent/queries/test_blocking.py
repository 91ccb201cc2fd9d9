"""Promises of `blocking` and `lock_mode`: who waits for whom, for what, since when; and how many locks there are."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from contracts.batch import Status
from contracts.document import Document, MetricSettings
from contracts.metrics import BLOCKING, LOCK_MODE
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.queries.acting import Row, ask, clock, pid, read, role, session, value
from tests.agent.targets.watching import Watched, watched
from tests.servers import NewServer

#: The instants and identifiers that the views have of a session.
TOLD = """
    select (extract(epoch from xact_start) * 1000000)::bigint, query_id
    from pg_stat_activity
    where pid = %s
"""

LOCKS = """
    select database::int8, locktype, mode, granted, count(*), count(*) filter (where fastpath)
    from pg_locks
    where pid in (%s, %s)
    group by 1, 2, 3, 4
"""


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, with prepared transactions and a table."""
    settings = {**THROWAWAY, "max_prepared_transactions": "5", "compute_query_id": "on", "autovacuum": "off"}
    with new_server(settings) as running, session(running.dsn()) as admin:
        admin.execute("create table account (id int primary key, balance int)")
        admin.execute("insert into account select g, 0 from generate_series(1, 3) g")
        yield running


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn()) as connection:
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(server.dsn()) as one:
        yield one


@pytest.fixture
def a(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn(), "the first") as connection:
        yield connection


@pytest.fixture
def b(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn(), "the second") as connection:
        yield connection


@pytest.fixture
def c(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn(), "the third") as connection:
        yield connection


def blocked(admin: psycopg.Connection, connection: psycopg.Connection) -> None:
    """Return once the session waits for a lock."""
    waits = "select count(*) from pg_locks where pid = %s and waitstart is not null"
    until(lambda: value(admin, waits, pid(connection)) == 1)


def edges(rows: list[Row]) -> dict[tuple[int, int], Row]:
    return {(row["blocked_pid"], row["blocking_pid"]): row for row in rows}


def test_three_sessions_after_one_row_are_a_chain(
    admin: psycopg.Connection,
    watching: Watched,
    a: psycopg.Connection,
    b: psycopg.Connection,
    c: psycopg.Connection,
) -> None:
    update = "update account set balance = 1 where id = 1"
    a.execute(f"begin; {update}")
    ask(b, update)
    blocked(admin, b)
    ask(c, update)
    blocked(admin, c)
    facts = {each: admin.execute(TOLD, (pid(each),)).fetchone() or (0, 0) for each in (a, b, c)}
    since = "select (extract(epoch from waitstart) * 1000000)::bigint from pg_locks where pid = %s and not granted"
    b_since = value(admin, since, pid(b))
    before = clock(admin)
    found = edges(read(watching, BLOCKING))
    after = clock(admin)

    # The second waits for the first to end; the third for the row's own lock, which the second holds meanwhile.
    assert set(found) == {(pid(b), pid(a)), (pid(c), pid(b))}
    first, second = found[pid(b), pid(a)], found[pid(c), pid(b)]
    assert (first["locktype"], first["mode"]) == ("transactionid", "ShareLock")
    assert (second["locktype"], second["mode"]) == ("tuple", "ExclusiveLock")
    relid = value(admin, "select 'account'::regclass::oid")
    datid = value(admin, "select oid from pg_database where datname = current_database()")
    assert {(row["datid"], row["relid"]) for row in (first, second)} == {(datid, relid)}
    assert (first["blocked_state"], first["blocking_state"]) == ("active", "idle in transaction")
    assert (first["blocking_wait_event_type"], second["blocking_wait_event_type"]) == ("Client", "Lock")
    assert [row["blocked_application_name"] for row in (first, second)] == ["the second", "the third"]
    assert [row["blocking_application_name"] for row in (first, second)] == ["the first", "the second"]
    assert first["blocked_usename"] == first["blocking_usename"] == "postgres"
    assert [row["blocked_query_id"] for row in (first, second)] == [facts[b][1], facts[c][1]]
    assert first["blocking_query_id"] == facts[a][1] is not None
    for name, instant in (
        ("waiting_us", b_since), ("blocked_xact_us", facts[b][0]), ("blocking_xact_us", facts[a][0]),
    ):  # fmt: skip
        assert before - instant <= first[name] <= after - instant
    assert first["blocking_in_state_us"] <= first["blocking_xact_us"]


def test_who_waits_ahead_blocks_too(
    admin: psycopg.Connection,
    watching: Watched,
    a: psycopg.Connection,
    b: psycopg.Connection,
    c: psycopg.Connection,
) -> None:
    a.execute("begin; select from account")
    ask(b, "begin; lock table account")
    blocked(admin, b)
    ask(c, "select from account")
    blocked(admin, c)
    found = edges(read(watching, BLOCKING))
    assert set(found) == {(pid(b), pid(a)), (pid(c), pid(b))}
    assert [found[edge]["mode"] for edge in sorted(found)] == ["AccessExclusiveLock", "AccessShareLock"]
    assert {row["relid"] for row in found.values()} == {value(admin, "select 'account'::regclass::oid")}
    truth = {
        (each, by)
        for each, by in admin.execute(
            "select l.pid, unnest(pg_blocking_pids(l.pid)) from pg_locks l where not l.granted"
        )
    }
    assert set(found) == truth


def test_above_the_cap_the_roots_of_the_tree_stay(
    admin: psycopg.Connection,
    watching: Watched,
    a: psycopg.Connection,
    b: psycopg.Connection,
    c: psycopg.Connection,
) -> None:
    a.execute("begin; select from account")
    for each in (b, c):
        ask(each, "begin; lock table account")
        blocked(admin, each)
    # The third waits for the first and, behind it, for the second.
    assert len(read(watching, BLOCKING)) == 3
    watching.target.apply(Document(metrics={"blocking": MetricSettings(at_most=2)}))
    rows = read(watching, BLOCKING)
    run = watching.run(BLOCKING)
    assert set(edges(rows)) == {(pid(b), pid(a)), (pid(c), pid(a))}
    assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, 2, 3)


def test_a_prepared_transaction_blocks_as_pid_0(
    admin: psycopg.Connection, watching: Watched, a: psycopg.Connection, b: psycopg.Connection
) -> None:
    a.execute("begin; update account set balance = 2 where id = 2")
    a.execute("prepare transaction 'forgotten'")
    try:
        a.execute("begin; lock table account in access share mode")
        a.execute("prepare transaction 'beside'")
        ask(b, "update account set balance = 3 where id = 2")
        blocked(admin, b)
        prepared = "select (extract(epoch from prepared) * 1000000)::bigint from pg_prepared_xacts where gid = %s"
        since = value(admin, prepared, "forgotten")
        before = clock(admin)
        (row,) = read(watching, BLOCKING)
        after = clock(admin)
    finally:
        admin.execute("rollback prepared 'beside'")
        admin.execute("rollback prepared 'forgotten'")
    assert (row["blocked_pid"], row["blocking_pid"]) == (pid(b), 0)
    assert before - since <= row["blocking_xact_us"] <= after - since
    assert row["blocking_state"] is row["blocking_application_name"] is None
    assert row["relid"] == value(admin, "select 'account'::regclass::oid")


def test_a_lock_on_no_relation_has_none(
    admin: psycopg.Connection, watching: Watched, a: psycopg.Connection, b: psycopg.Connection
) -> None:
    a.execute("select pg_advisory_lock(7)")
    ask(b, "select pg_advisory_lock(7)")
    blocked(admin, b)
    (row,) = read(watching, BLOCKING)
    assert (row["locktype"], row["relid"], row["blocking_state"]) == ("advisory", None, "idle")


def test_where_nobody_waits_the_run_is_empty(watching: Watched, a: psycopg.Connection) -> None:
    a.execute("begin; lock table account")
    assert read(watching, BLOCKING) == []
    assert watching.run(BLOCKING).status is Status.EMPTY


def test_a_role_without_rights_sees_who_waits_and_is_told_that_it_sees_no_more(
    server: EmbeddedPostgres, admin: psycopg.Connection, a: psycopg.Connection, b: psycopg.Connection
) -> None:
    a.execute("begin; lock table account")
    ask(b, "select from account")
    blocked(admin, b)
    with role(server) as humble, watched(server.dsn(user=humble)) as watching:
        (row,) = read(watching, BLOCKING)
        run = watching.run(BLOCKING)
    assert (row["blocked_pid"], row["blocking_pid"]) == (pid(b), pid(a))
    assert row["blocked_state"] is row["blocking_xact_us"] is row["blocked_query_id"] is None
    assert run.status is Status.PERMISSION


def test_locks_are_counted_by_kind(
    admin: psycopg.Connection, watching: Watched, a: psycopg.Connection, b: psycopg.Connection
) -> None:
    a.execute("begin; select from account; select from pg_database; update account set balance = 4 where id = 3")
    a.execute("create table of_the_transaction (a int)")
    ask(b, "begin; lock table account in share mode")
    blocked(admin, b)
    since = "select (extract(epoch from waitstart) * 1000000)::bigint from pg_locks where pid = %s and not granted"
    waiting_since = value(admin, since, pid(b))
    expected: dict[tuple[int, str, str, bool], list[int]] = {}
    for database, *kind, locks, fastpath in admin.execute(LOCKS, (pid(a), pid(b))):
        entry = expected.setdefault((database or 0, *kind), [0, 0])
        entry[0] += locks
        entry[1] += fastpath
    before = clock(admin)
    rows = read(watching, LOCK_MODE)
    after = clock(admin)
    # Of the others there is the reader, idle and without a lock, and the agent, which does not count itself.
    found = {(row["datid"], row["locktype"], row["mode"], row["granted"]): row for row in rows}
    assert {kind: [row["locks"], row["fastpath"]] for kind, row in found.items()} == expected
    (waiting,) = (row for row in rows if not row["granted"])
    assert (waiting["locktype"], waiting["mode"]) == ("relation", "ShareLock")
    assert before - waiting_since <= waiting["longest_wait_us"] <= after - waiting_since
    assert {row["longest_wait_us"] for row in rows if row["granted"]} == {None}
    assert {row["datid"] for row in rows if row["locktype"] == "transactionid"} == {0}
