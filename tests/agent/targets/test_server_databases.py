"""Promises of a watched server about its databases: which are visited, over how many connections, and
what is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from agent.postgres.connection import Connection
from agent.postgres.session import Database
from agent.targets.server import chosen
from contracts.batch import Run, Status
from contracts.document import DatabaseSettings, Document
from contracts.metrics import DATABASE, DATABASE_STATS, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Watched, databases, rows_of, watched
from tests.servers import NewServer

FIFTY = tuple(f"many_{number:02}" for number in range(50))


@pytest.fixture(scope="module")
def fifty(server: EmbeddedPostgres) -> Iterator[list[str]]:
    with databases(server, *FIFTY) as names:
        yield names


@pytest.fixture
def oids(server: EmbeddedPostgres) -> dict[int, str]:
    with psycopg.connect(server.dsn()) as admin:
        return dict(admin.execute("select oid::int8, datname from pg_database").fetchall())


@pytest.fixture
def watching(server: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(server.dsn()) as one:
        yield one


def only(*include: str, exclude: tuple[str, ...] = (), at_most: int = 100) -> Document:
    return Document(databases=DatabaseSettings(include=include, exclude=exclude, at_most=at_most))


def visited(watching: Watched, oids: dict[int, str]) -> set[str]:
    contents = watching.collect(TABLE_STATS)
    assert {frame.datid for frame in contents.frames} == {run.datid for run in contents.runs if run.datid}
    return {oids[run.datid] for run in contents.runs if run.datid is not None}


def test_fifty_databases_take_two_connections_at_most(
    server: EmbeddedPostgres, fifty: list[str], watching: Watched, oids: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[psycopg.Connection] = []
    together: list[int] = []
    connect = Connection.connect

    def counting(*arguments: Any, **options: Any) -> psycopg.Connection:
        together.append(1 + sum(not connection.closed for connection in opened))
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(Connection, "connect", counting)
    watching.target.apply(only("many_*"))
    assert visited(watching, oids) == set(fifty)
    watching.collect(DATABASE)
    assert visited(watching, oids) == set(fifty)
    assert max(together) == 2
    monkeypatch.undo()
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        # A server needs a moment to notice that a session has ended.
        count = "select count(*) from pg_stat_activity where application_name = 'pganalytics-agent'"
        until(lambda: admin.execute(count).fetchone() == (2,))
        watching.target.close()
        until(lambda: admin.execute(count).fetchone() == (0,))


def test_the_database_that_the_session_is_in_comes_first(
    server: EmbeddedPostgres, fifty: list[str], watching: Watched, oids: dict[int, str]
) -> None:
    watching.target.apply(only("many_*"))
    first = [run.datid for run in watching.collect(TABLE_STATS).runs]
    second = [run.datid for run in watching.collect(TABLE_STATS).runs]
    assert second[0] == first[-1]
    assert set(first) == set(second)


def test_patterns_take_and_leave_databases(fifty: list[str], watching: Watched, oids: dict[int, str]) -> None:
    watching.target.apply(only("many_0?_*", "postgres", exclude=("*_0[0-7]_*", "many_09*")))
    assert visited(watching, oids) == {fifty[8], "postgres"}
    watching.target.apply(only("*", exclude=("many_*",)))
    assert not visited(watching, oids) & set(fifty)


def test_what_the_cap_leaves_out_is_told(fifty: list[str], watching: Watched, oids: dict[int, str]) -> None:
    watching.target.apply(only("many_*", at_most=3))
    contents = watching.collect(TABLE_STATS)
    assert sorted(oids[run.datid] for run in contents.runs if run.datid) == fifty[:3]
    (run,) = [run for run in contents.runs if run.datid is None]
    assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, 3, 50)
    assert "databases.at_most" in (run.detail or "")


def test_patterns_that_take_nothing_leave_a_run(watching: Watched) -> None:
    watching.target.apply(only("no_such_database"))
    run = watching.run(TABLE_STATS)
    assert (run.status, run.datid) == (Status.EMPTY, None)
    assert "databases.include" in (run.detail or "")


def test_chosen_keeps_names_with_odd_characters_apart() -> None:
    names = ["a", "A", "a b", "a\n", "[a]"]
    every = [Database(oid, name) for oid, name in enumerate(names)]
    assert [one.name for one in chosen(every, DatabaseSettings(include=("a",)))] == ["a"]
    assert [one.name for one in chosen(every, DatabaseSettings(include=("a?b", "[[]a]")))] == ["a b", "[a]"]


def test_a_database_that_admits_nobody_is_not_visited(
    server: EmbeddedPostgres, watching: Watched, oids: dict[int, str]
) -> None:
    with (
        databases(server, "closed", "private") as (closed, private),
        psycopg.connect(server.dsn(), autocommit=True) as admin,
    ):
        admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(closed)))
        admin.execute(sql.SQL("revoke connect on database {} from public").format(sql.Identifier(private)))
        admin.execute("create role without_rights login")
        names = dict(admin.execute("select oid::int8, datname from pg_database").fetchall())  # type: ignore[var-annotated]
        try:
            with watched(server.dsn(user="without_rights")) as humble:
                seen = visited(humble, names)
                assert "postgres" in seen
                assert not seen & {closed, private, "template0"}
        finally:
            admin.execute("drop role without_rights")


def test_a_database_that_cannot_be_entered_costs_only_itself(server: EmbeddedPostgres, watching: Watched) -> None:
    with databases(server, "full") as (full,), psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("alter database {} connection limit 0").format(sql.Identifier(full)))
        admin.execute("create role not_super login in role pg_monitor")
        (datid,) = admin.execute("select oid::int8 from pg_database where datname = %s", (full,)).fetchone() or (0,)
        with watched(server.dsn(user="not_super")) as humble:
            humble.target.apply(only("postgres", "full_*"))
            by_datid = {run.datid: run for run in humble.collect(TABLE_STATS).runs}
        admin.execute("drop role not_super")
    failed = by_datid.pop(datid)
    assert failed.status is Status.ERROR  # libpq gives no SQLSTATE for a refused connection
    assert "too many connections" in (failed.detail or "")
    assert {run.status for run in by_datid.values()} <= {Status.OK, Status.EMPTY}


def test_a_database_that_is_dropped_under_the_session_costs_one_round(
    server: EmbeddedPostgres, watching: Watched, oids: dict[int, str]
) -> None:
    with databases(server, "dropped") as (name,):
        watching.target.apply(only("postgres", "dropped_*"))
        watching.collect(TABLE_STATS)
        watching.target._roving.use(name)
    # It is gone now, and the session with it.
    runs: list[Run] = []
    until(lambda: runs.extend(watching.collect(TABLE_STATS).runs) or runs[-1].status is not Status.ERROR)  # type: ignore[func-returns-value, redundant-expr]
    assert len(runs) <= 2
    assert oids[runs[-1].datid or 0] == "postgres"


def test_a_dead_server_gives_error_runs_and_no_zeros(new_server: NewServer) -> None:
    with new_server() as server, watched(server.dsn()) as watching:
        before = rows_of(watching.frame(DATABASE_STATS))
        assert watching.collect(TABLE_STATS).runs
        server.stop("immediate")
        for metric in (DATABASE_STATS, TABLE_STATS, DATABASE):
            contents = watching.collect(metric)
            assert contents.frames == ()
            (run,) = contents.runs
            assert (run.collector, run.status, run.rows) == (metric.name, Status.ERROR, 0)
            assert run.detail
        server.start()
        assert set(rows_of(watching.frame(DATABASE_STATS))) == set(before)
