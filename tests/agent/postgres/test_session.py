"""Promises of a session: cheap and harmless for its server, honest about failures, never stuck, and
back after a break.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from agent.lines import columns_of
from agent.postgres import session as module
from agent.postgres.connection import SessionError
from agent.postgres.queries import query
from agent.postgres.session import Session
from contracts.batch import Status
from contracts.metrics import Metric, Scope, Type
from contracts.metrics.model import label
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.servers import NewServer

Told = Callable[[LiteralString], None]


@pytest.fixture
def session(server: EmbeddedPostgres) -> Iterator[Session]:
    session = Session(server.dsn())
    yield session
    session.close()


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Puts another text in the place of the query `databases`."""

    def replace(text: LiteralString) -> None:
        monkeypatch.setattr(module, "query", lambda name, major: text if name == "databases" else query(name, major))

    return replace


def pid_of(session: Session) -> int:
    connection = session._connection
    assert connection is not None
    return connection.info.backend_pid


def failed(session: Session, name: str = "databases") -> SessionError:
    with pytest.raises(SessionError) as caught:
        session.rows(name)
    return caught.value


SETTINGS = {
    "application_name": "pganalytics-agent",
    "default_transaction_read_only": "on",
    "search_path": "pg_catalog",
    "statement_timeout": "1234ms",
    "lock_timeout": "100ms",
    "idle_in_transaction_session_timeout": "10s",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "max_parallel_workers_per_gather": "0",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "client_encoding": "UTF8",
}


def test_every_session_has_the_settings_that_make_it_cheap(session: Session) -> None:
    session.statement_timeout_ms = 1234
    session.use()
    assert session._connection is not None
    for name, value in SETTINGS.items():
        shown = session._connection.execute(sql.SQL("show {}").format(sql.Identifier(name))).fetchone()
        assert shown == (value,), name


def test_another_limit_is_obeyed_by_the_connection_there_is(session: Session, asking: Told) -> None:
    session.use()
    pid = pid_of(session)
    asking("select oid, current_setting('statement_timeout') from pg_database limit 1")
    session.statement_timeout_ms = 4321
    assert session.databases()[0].name == "4321ms"
    assert pid_of(session) == pid


def test_a_session_has_one_connection_however_many_databases_it_visits(
    session: Session, admin: psycopg.Connection
) -> None:
    pids = []
    for database in ("postgres", "template1", "postgres", "postgres"):
        session.use(database)
        pids.append(pid_of(session))
    assert pids[2] == pids[3]

    def one_is_left() -> bool:
        rows = admin.execute("select pid from pg_stat_activity where pid = any(%s)", (pids,)).fetchall()
        return rows == [(pids[-1],)]

    until(one_is_left)
    session.use()
    assert session.database == "postgres"
    assert pid_of(session) == pids[-1]


def test_a_session_cannot_write(session: Session, asking: Told) -> None:
    asking("create table public.written ()")
    error = failed(session)
    assert (error.status, error.sqlstate) == (Status.ERROR, "25006")


def test_waiting_for_a_lock_is_given_up(session: Session, server: EmbeddedPostgres, asking: Told) -> None:
    with psycopg.connect(server.dsn()) as holder:
        holder.execute("create table locked_by_test (a int)")
        holder.commit()
        holder.execute("lock table locked_by_test")
        asking("select * from public.locked_by_test")
        error = failed(session)
        assert (error.status, error.sqlstate) == (Status.LOCKED, "55P03")
        holder.execute("drop table locked_by_test")
    assert session.rows("check")


def test_a_slow_query_is_a_timeout_that_names_the_limit(session: Session, asking: Told) -> None:
    session.statement_timeout_ms = 50
    asking("select pg_sleep(20)")
    error = failed(session)
    assert (error.status, error.sqlstate) == (Status.TIMEOUT, "57014")
    assert "statement_timeout_ms" in error.detail
    assert session.rows("check"), "the connection is still good"


@pytest.mark.parametrize("ask", [Session.rows, Session.lines])
def test_a_server_that_does_not_answer_at_all_is_given_up(
    ask: Callable[[Session, str], object], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TCP's own deadlines do not help: the kernel of a stopped server still acknowledges.
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.3)
    session.statement_timeout_ms = 100
    session.use()
    pid = pid_of(session)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SessionError) as caught:
            ask(session, "check" if ask is Session.rows else "database")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert caught.value.status is Status.TIMEOUT
    assert "no answer within 0.4 s" in caught.value.detail
    assert session.rows("check")
    assert pid_of(session) != pid


def test_a_query_of_few_rows_gives_the_lines_that_a_copy_would(session: Session, asking: Told) -> None:
    values = r"values (1, E'a\tb\nc\rd\\', null, true), (2, E'\\N', 'é', false), (3, '', E'\b\f\v', null)"
    asking(f"copy ({values}) to stdout")
    copied = session.lines("databases")
    asking(values)
    metric = Metric(
        "m",
        Scope.CLUSTER,
        "",
        (),
        (label("i", "", Type.OID), label("t", ""), label("u", ""), label("b", "", Type.BOOLEAN)),
        60,
    )
    assert columns_of(metric, session.lines("databases")) == columns_of(metric, copied)
    assert len(copied) == 3


def test_an_error_in_the_midst_of_a_copy_is_told_as_one(session: Session, asking: Told) -> None:
    asking("copy (select 1 / (5000 - n) from generate_series(1, 10000) as n) to stdout")
    with pytest.raises(SessionError) as caught:
        session.lines("databases")
    assert (caught.value.status, caught.value.sqlstate) == (Status.ERROR, "22012")
    assert session.rows("check"), "the connection is still good"


@pytest.fixture
def stranger(server: EmbeddedPostgres, admin: psycopg.Connection) -> Iterator[str]:
    """A role without any right of its own."""
    role = f"stranger_{uuid4().hex[:8]}"
    admin.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
    admin.execute("create table if not exists private_to_postgres ()")
    yield role
    admin.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def test_a_missing_right_is_remembered_and_not_asked_for_again(
    server: EmbeddedPostgres, stranger: str, admin: psycopg.Connection, asking: Told
) -> None:
    asking("select * from public.private_to_postgres")
    with closing(Session(server.dsn(user=stranger))) as session:
        error = failed(session)
        assert (error.status, error.sqlstate) == (Status.PERMISSION, "42501")
        assert "grant pg_monitor" in error.detail
        # Granted meanwhile: that it still fails shows that the server is not asked.
        grant = sql.SQL("{} select on private_to_postgres {} {}")
        admin.execute(grant.format(sql.SQL("grant"), sql.SQL("to"), sql.Identifier(stranger)))
        try:
            assert failed(session).sqlstate == "42501"
            session.close()
            assert session.rows("databases") == []
        finally:
            session.close()
            admin.execute(grant.format(sql.SQL("revoke"), sql.SQL("from"), sql.Identifier(stranger)))


def test_a_remembered_refusal_does_not_grow(session: Session, asking: Told) -> None:
    asking("select * from public.nowhere_to_be_found")

    def length() -> int:
        trace, count = failed(session).__traceback__, 0
        while trace is not None:
            trace, count = trace.tb_next, count + 1
        return count

    length()
    assert len({length() for _ in range(5)}) == 1


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ("select no_such_column from pg_database", "42703"),
        ("select * from no_such_relation", "42P01"),
        ("select no_such_function()", "42883"),
    ],
)
def test_what_this_server_does_not_have_is_unsupported_and_not_asked_again(
    session: Session, asking: Told, text: LiteralString, sqlstate: str
) -> None:
    asking(text)
    error = failed(session)
    assert (error.status, error.sqlstate) == (Status.UNSUPPORTED, sqlstate)
    asking("select 1")
    assert failed(session) is error
    session.close()
    assert session.rows("databases") == [(1,)]


def test_what_came_with_a_later_version_is_unsupported_without_asking_the_server(session: Session) -> None:
    session.use()
    session._version = (13,)
    error = failed(session, "io")
    assert (error.status, error.sqlstate) == (Status.UNSUPPORTED, None)
    assert error.detail == "io came with version 16"


def test_a_broken_connection_costs_one_run(session: Session, admin: psycopg.Connection) -> None:
    session.use("template1")
    pid = pid_of(session)
    admin.execute("select pg_terminate_backend(%s, 20000)", (pid,))
    error = failed(session)
    assert error.status is Status.ERROR
    assert error.detail
    assert session.rows("check")
    assert pid_of(session) != pid


def test_a_query_that_failed_while_copying_leaves_the_session_usable(session: Session, asking: Told) -> None:
    asking("copy (select 1 / (3 - g) from generate_series(1, 5) g) to stdout")
    with pytest.raises(SessionError) as caught:
        session.lines("databases")
    assert (caught.value.status, caught.value.sqlstate) == (Status.ERROR, "22012")
    assert session.lines("cluster")


def test_a_server_that_is_away_is_an_error_and_its_return_is_noticed(new_server: NewServer) -> None:
    with new_server() as server, closing(Session(server.dsn())) as session:
        before = session.epoch("cluster")
        server.stop()
        assert failed(session).status is Status.ERROR
        away = failed(session)
        assert away.status is Status.ERROR
        assert "connection to server" in away.detail
        server.start()
        assert session.epoch("cluster") == before, "a clean restart keeps the counters"


def test_a_refused_connection_names_the_reason(server: EmbeddedPostgres) -> None:
    with closing(Session(server.dsn(database="no_such_database"))) as session, pytest.raises(SessionError) as caught:
        session.use()
    assert 'database "no_such_database" does not exist' in caught.value.detail
