"""Promises of functions: counted as PostgreSQL counts them, and named where they are counted."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from contracts.batch import Status
from contracts.document import DatabaseSettings, Document, MetricSettings
from contracts.metrics import FUNCTION, FUNCTION_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Rows, Watched, databases, rows_of, truth, watched

WORK = """
    create schema "Other";
    create function inner_one(int) returns int language plpgsql as 'begin return $1; end';
    create function "Other".outer_one(int) returns int language plpgsql as
        'declare x int; begin for i in 1..$1 loop x := public.inner_one(i); end loop; return x; end';
    create function inner_one(text) returns text language plpgsql as 'begin return $1; end';
    create procedure does(inout a int) language plpgsql as 'begin a := 2; end';
    create function never_called() returns int language plpgsql as 'begin return 1; end';
    select "Other".outer_one(1000) from generate_series(1, 3);
    select inner_one('x');
    call does(1);
"""

STATS = """
    select funcid::int8, calls, (total_time * 1000)::int8 as total_time_us, (self_time * 1000)::int8 as self_time_us
    from pg_stat_user_functions
"""


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    with databases(server, "functions") as (name,):
        with psycopg.connect(server.dsn(name), autocommit=True) as admin:
            admin.execute(WORK)
        yield name


@pytest.fixture
def watching(server: EmbeddedPostgres, database: str) -> Iterator[Watched]:
    with watched(server.dsn(database)) as one:
        one.target.apply(only(database))
        yield one


def only(database: str, at_most: int | None = None) -> Document:
    return Document(
        databases=DatabaseSettings(include=(database,)), metrics={"function_stats": MetricSettings(at_most=at_most)}
    )


def test_functions_are_counted_and_named(server: EmbeddedPostgres, database: str, watching: Watched) -> None:
    def read() -> Rows:
        watching.changes.forget()
        return {oid: {**row, "funcid": oid} for oid, row in rows_of(watching.frame(FUNCTION_STATS)).items()}

    with psycopg.connect(server.dsn(database), autocommit=True) as reader:
        until(lambda: len(truth(reader, STATS)) == 4)  # of a session that ended they arrive when they arrive
        assert read() == truth(reader, STATS)
    found, names = read(), rows_of(watching.frame(FUNCTION))
    told = {
        (names[oid]["schema_name"], names[oid]["function_name"], names[oid]["arguments"], names[oid]["kind"]): row
        for oid, row in found.items()
    }
    assert {name: row["calls"] for name, row in told.items()} == {
        ("public", "inner_one", "integer", "f"): 3000,
        ("public", "inner_one", "text", "f"): 1,
        ("Other", "outer_one", "integer", "f"): 3,
        ("public", "does", "INOUT a integer", "p"): 1,
    }
    outer = told["Other", "outer_one", "integer", "f"]
    assert outer["total_time_us"] > outer["self_time_us"]
    assert set(names) == set(found)
    assert {(row["language"], row["owner"]) for row in names.values()} == {("plpgsql", "postgres")}


def test_the_cap_keeps_the_functions_with_most_time_of_their_own(
    server: EmbeddedPostgres, database: str, watching: Watched
) -> None:
    with psycopg.connect(server.dsn(database), autocommit=True) as reader:
        until(lambda: len(truth(reader, STATS)) == 4)
        ((busiest,),) = reader.execute(
            "select funcid::int8 from pg_stat_user_functions order by self_time desc limit 1"
        )
    watching.target.apply(only(database, at_most=1))
    contents = watching.collect(FUNCTION_STATS)
    assert set(rows_of(contents.frames[0])) == {busiest}
    (run,) = contents.runs
    assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, 1, 4)
