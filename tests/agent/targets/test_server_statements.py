"""Promises of statement metrics: PostgreSQL's own numbers, resets that show, and caps that say what they left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from contracts.batch import Frame, Mode, Status
from contracts.document import Document, MetricSettings
from contracts.metrics import STATEMENT_INFO, STATEMENT_STATS, STATEMENT_TEXT
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.targets.watching import Watched, databases, watched
from tests.servers import NewServer

Key = tuple[int, int, int, bool]
Statements = dict[Key, dict[str, Any]]

WORK = """
    create table probe (id int primary key, word text);
    create function nested() returns bigint language plpgsql as $$
        declare n bigint; begin select count(*) from probe where word = 'known' into n; return n; end
    $$;
"""


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    """A database with the extension in a schema that nobody's search path has."""
    with databases(server, "statements") as (name,):
        with psycopg.connect(server.dsn(name), autocommit=True) as admin:
            admin.execute('create schema "Odd one"; create extension pg_stat_statements schema "Odd one"')
            admin.execute('select "Odd one".pg_stat_statements_reset()')
        yield name


@pytest.fixture
def worker(server: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(database), autocommit=True, prepare_threshold=None) as connection:
        connection.execute(WORK)
        connection.execute("set pg_stat_statements.track = 'all'")
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres, database: str) -> Iterator[Watched]:
    with watched(server.dsn(database)) as one:
        yield one


def statements_of(frame: Frame) -> Statements:
    names = STATEMENT_STATS.names
    rows = zip(*(frame.columns[name] for name in names), strict=True)
    return {(row[0], row[1], row[2], row[3]): dict(zip(names, row, strict=True)) for row in rows}


def truth(connection: psycopg.Connection, pattern: str) -> Statements:
    """What the view says of statements with such a text, in the metric's words; null is what it does not have."""
    with closing(connection.cursor(row_factory=dict_row)) as cursor:
        cursor.execute('select * from "Odd one".pg_stat_statements where query like %s', (pattern,))
        return {
            (row["userid"], row["dbid"], row["queryid"], row["toplevel"]): {
                column: _said(row, column) for column in STATEMENT_STATS.names
            }
            for row in cursor
        }


def _said(row: dict[str, Any], column: str) -> Any:
    source = column.removesuffix("_us").removesuffix("_at")
    if source.startswith("shared_blk_") and source not in row:
        source = source.removeprefix("shared_")
    value = row.get(source)
    if value is None or column in STATEMENT_STATS.key:
        return value
    if column.endswith("_at"):
        return round(value.timestamp() * 1_000_000)
    return round(value * 1000) if column.endswith("_us") else int(value)


def test_statements_are_those_of_the_view_counted_exactly(watching: Watched, worker: psycopg.Connection) -> None:
    for number in range(7):
        worker.execute("insert into probe values (%s, 'known')" % number)  # noqa: UP031 - a literal, not a parameter
    for _ in range(3):
        worker.execute("select nested()")
    for _ in range(2):
        worker.execute("select count(*) from probe where word = 'known'")
    expected = truth(worker, "select count(*) from probe where%") | truth(worker, "insert into probe%")
    found = statements_of(watching.frame(STATEMENT_STATS))
    assert {key: found[key] for key in expected} == expected
    calls = sorted((row["calls"], row["rows"], key[3]) for key, row in expected.items())
    assert calls == [(2, 2, True), (3, 3, False), (7, 7, True)]
    assert len({key[2] for key in expected}) == 2, "a statement in a function is another row of the same statement"
    assert all(row["total_exec_time_us"] > 0 for row in expected.values())


def test_every_version_of_the_extension_is_read_as_it_is_and_one_that_is_too_old_is_told_to_be_updated(
    watching: Watched, worker: psycopg.Connection
) -> None:
    # The version survives an upgrade of the server: an old one stands on a new server until it is updated.
    available = {
        version
        for (version,) in worker.execute(
            "select version from pg_available_extension_versions where name = 'pg_stat_statements'"
        )
    }
    assert "1.9" in available
    for version in sorted(available & {"1.9", "1.10", "1.11", "1.12"}):
        worker.execute("drop extension pg_stat_statements")
        create = sql.SQL('create extension pg_stat_statements schema "Odd one" version {}')
        worker.execute(create.format(sql.Literal(version)))
        worker.execute("select 'of a version'")
        expected = truth(worker, "select $1")
        watching.changes.forget()
        found = statements_of(watching.frame(STATEMENT_STATS))
        assert expected
        assert {key: found[key] for key in expected} == expected, version
    worker.execute("drop extension pg_stat_statements")
    worker.execute("""create extension pg_stat_statements schema "Odd one" version '1.8'""")
    watching.target.close()
    for metric in (STATEMENT_STATS, STATEMENT_INFO):
        run = watching.run(metric)
        assert run.status is Status.UNSUPPORTED
        assert run.detail == "pg_stat_statements is too old; alter extension pg_stat_statements update"
    worker.execute("alter extension pg_stat_statements update")
    assert watching.run(STATEMENT_STATS).status is Status.OK


def test_one_statement_that_is_reset_says_so_and_the_others_stand(
    watching: Watched, worker: psycopg.Connection
) -> None:
    for _ in range(5):
        worker.execute("select count(*) from probe")
        worker.execute("select max(id) from probe")
    first = watching.frame(STATEMENT_STATS)
    (key,), (other,) = truth(worker, "select count(*) from probe"), truth(worker, "select max(id) from probe")
    worker.execute('select "Odd one".pg_stat_statements_reset(%s, %s, %s)', key[:3])
    worker.execute("select count(*) from probe")
    frame = watching.frame(STATEMENT_STATS)
    assert (frame.mode, frame.epoch) == (Mode.CHANGED, first.epoch)
    before, after = statements_of(first), statements_of(frame)
    assert (before[key]["calls"], after[key]["calls"]) == (5, 1)
    assert other not in after
    ((version,),) = worker.execute("select extversion from pg_extension where extname = 'pg_stat_statements'")
    if tuple(map(int, version.split("."))) >= (1, 11):
        assert after[key]["stats_since_at"] > before[key]["stats_since_at"]
    else:
        assert after[key]["stats_since_at"] is None


def test_a_reset_of_all_statements_is_an_epoch(watching: Watched, worker: psycopg.Connection) -> None:
    before = watching.frame(STATEMENT_STATS), watching.frame(STATEMENT_INFO)
    worker.execute('select "Odd one".pg_stat_statements_reset()')
    after = watching.frame(STATEMENT_STATS), watching.frame(STATEMENT_INFO)
    assert after[0].mode is Mode.FULL
    assert before[0].epoch == before[1].epoch != after[0].epoch == after[1].epoch
    ((reset,),) = worker.execute('select stats_reset from "Odd one".pg_stat_statements_info')
    assert after[1].columns["stats_reset_at"] == [round(reset.timestamp() * 1_000_000)]


def test_the_cap_keeps_the_statements_with_most_execution_time_and_tells_how_many_there_are(
    watching: Watched, worker: psycopg.Connection
) -> None:
    for columns in ("1", "1, 2", "1, 2, 3"):
        worker.execute(f"select {columns}, count(*) from generate_series(1, 400000)")
    expected = set(truth(worker, "select%from generate_series%"))
    watching.target.apply(Document(metrics={"statement_stats": MetricSettings(at_most=3)}))
    contents = watching.collect(STATEMENT_STATS)
    assert set(statements_of(contents.frames[0])) == expected
    (run,) = contents.runs
    assert (run.status, run.rows) == (Status.TRUNCATED, 3)
    ((count,),) = worker.execute('select count(*) from "Odd one".pg_stat_statements(false)')
    assert run.rows_available is not None
    assert 3 < run.rows_available <= count
    assert run.detail == "metrics.statement_stats.at_most is 3"


def test_statements_that_were_thrown_out_are_counted(new_server: NewServer) -> None:
    settings = {**THROWAWAY, "shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.max": "100"}
    with new_server(settings) as own, psycopg.connect(own.dsn(), autocommit=True) as admin:
        admin.execute("create extension pg_stat_statements")
        with watched(own.dsn()) as watching:
            first = watching.frame(STATEMENT_INFO)
            assert (first.columns["dealloc"], first.columns["max_statements"]) == ([0], [100])
            for number in range(150):
                admin.execute(f"select 1 as column_{number}")
                admin.execute(f"set application_name = 'a{number}'; select {', '.join(['1'] * (number + 1))}")
            ((dealloc,),) = admin.execute("select dealloc from pg_stat_statements_info")
            frame = watching.frame(STATEMENT_INFO)
            assert frame.columns["dealloc"][0] >= dealloc > 0
            assert frame.epoch == first.epoch


def test_an_extension_that_comes_later_is_noticed_and_one_that_moves_is_found(server: EmbeddedPostgres) -> None:
    with (
        databases(server, "later") as (name,),
        psycopg.connect(server.dsn(name), autocommit=True) as admin,
        watched(server.dsn(name)) as watching,
    ):
        run = watching.run(STATEMENT_STATS)
        assert run.status is Status.UNSUPPORTED
        assert run.detail == (
            f"pg_stat_statements is not there; create extension pg_stat_statements in database {name}"
        )
        admin.execute("create extension pg_stat_statements")
        assert watching.run(STATEMENT_STATS).status is Status.OK
        admin.execute("create schema elsewhere; alter extension pg_stat_statements set schema elsewhere")
        assert watching.run(STATEMENT_STATS).status is Status.OK


def test_an_extension_whose_library_is_not_loaded_is_unsupported_and_says_what_to_set(new_server: NewServer) -> None:
    with new_server() as own, psycopg.connect(own.dsn(), autocommit=True) as admin, watched(own.dsn()) as one:
        admin.execute("create extension pg_stat_statements")
        run = one.run(STATEMENT_STATS)
        assert (run.status, run.sqlstate) == (Status.UNSUPPORTED, "55000")
        assert "shared_preload_libraries" in (run.detail or "")
        said = own.log.read_text().count("must be loaded")
        assert one.run(STATEMENT_STATS).status is Status.UNSUPPORTED
        assert own.log.read_text().count("must be loaded") == said


def test_a_role_that_does_not_see_others_statements_is_told_what_to_grant(
    server: EmbeddedPostgres, database: str, worker: psycopg.Connection
) -> None:
    role = sql.Identifier(f"reader_of_{database}")
    worker.execute(sql.SQL("create role {} login").format(role))
    worker.execute(sql.SQL('grant usage on schema "Odd one" to {}').format(role))
    try:
        with watched(server.dsn(database, user=f"reader_of_{database}")) as one:
            run = one.run(STATEMENT_STATS)
            assert run.status is Status.PERMISSION
            assert "grant pg_read_all_stats" in (run.detail or "")
            assert one.run(STATEMENT_TEXT).status is Status.SKIPPED
            worker.execute(sql.SQL("grant pg_monitor to {}").format(role))
            assert one.run(STATEMENT_STATS).status is Status.OK
            assert one.run(STATEMENT_TEXT).status is Status.OK
    finally:
        worker.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))
