"""Promises of the SQL files: the right variant, the catalogue's columns, runnable as they stand in psql."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.lines import columns_of
from agent.postgres.queries import TooOldError, names, query
from agent.postgres.session import Session
from contracts.batch import Frame
from contracts.metrics import METRICS, Metric, Scope
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until

FILES = sorted(
    Path(str(file)) for file in resources.files("agent.queries").iterdir() if Path(str(file)).suffix == ".sql"
)
COLLECTED = {each.metric.name: each for each in COLLECTORS if isinstance(each, Query)}
QUERIED = [collector.metric for collector in COLLECTED.values()]

#: What PostgreSQL has not had for as long as it is watched, and the version that it came with.
SINCE = {"io": 16, "recovery_prefetch": 15}

#: What a server at rest may have nothing of; the tests of these metrics give it some.
NONE_AT_REST = {
    "activity",
    "blocking",
    "lock_mode",
    "prepared_xact",
    "progress",
    "recovery_prefetch",
    "replication",
    "replication_slot",
    "subscription",
    "wal_receiver",
    "xmin_holder",
}


@pytest.fixture(scope="module")
def session(server: EmbeddedPostgres) -> Iterator[Session]:
    def run(statements: str) -> None:
        server.run("psql", "-qd", server.dsn(), "-c", statements)

    with closing(Session(server.dsn())) as session:
        run("create table queried (id int primary key, t text); create sequence queried_by")
        run("create function queried_for() returns int language plpgsql as 'begin return 1; end'")
        run("select queried_for()")
        # The statistics of a session that ended arrive when they arrive.
        until(lambda: session.lines("function"))
        yield session
        run("drop table queried; drop sequence queried_by; drop function queried_for")


def psql_text(session: Session, name: str) -> str:
    """The query for this server as it is typed into psql; skips the test where the server does not have it."""
    collector = COLLECTED.get(name)
    session.use()
    assert session._connection is not None
    version = session._version
    if version < (SINCE.get(name, 14),):
        pytest.skip(f"{name} came with version {SINCE[name]}")
    if collector and collector.extension:
        with session._connection.transaction():
            version = session._extension(session._connection, collector.extension)
    return query(name, version).replace("%(at_most)s", "1000")


@pytest.mark.parametrize(
    ("name", "major", "file"),
    [
        ("table_stats", 14, "table_stats.sql"),
        ("table_stats", 15, "table_stats.sql"),
        ("table_stats", 16, "table_stats.pg16.sql"),
        ("table_stats", 17, "table_stats.pg16.sql"),
        ("table_stats", 18, "table_stats.pg18.sql"),
        ("table_stats", 25, "table_stats.pg18.sql"),
        ("database_stats", 17, "database_stats.sql"),
        ("database_stats", 18, "database_stats.pg18.sql"),
    ],
)
def test_the_newest_variant_that_is_not_above_the_server_is_chosen(name: str, major: int, file: str) -> None:
    assert query(name, (major,)) == resources.files("agent.queries").joinpath(file).read_text()


def test_a_query_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        query("no_such_query", (18,))


@pytest.mark.parametrize(("name", "major"), SINCE.items())
def test_what_came_with_a_later_version_is_asked_of_none_before(name: str, major: int) -> None:
    with pytest.raises(TooOldError, match=f"{name} came with version {major}"):
        query(name, (major - 1,))
    assert query(name, (major,))


def test_every_collector_has_its_query_from_the_oldest_server_on() -> None:
    assert all(query(metric.name, (SINCE.get(metric.name, 14),)) for metric in QUERIED)


def test_every_metric_has_exactly_one_collector() -> None:
    assert sorted(collector.metric.name for collector in COLLECTORS) == sorted(metric.name for metric in METRICS)


@pytest.mark.parametrize("metric", QUERIED, ids=lambda metric: metric.name)
def test_a_query_answers_exactly_the_columns_of_the_catalogue(session: Session, metric: Metric) -> None:
    session.use()
    if session._version < (SINCE.get(metric.name, 14),):
        pytest.skip(f"{metric.name} came with version {SINCE[metric.name]}")
    lines = COLLECTED[metric.name].read(session, metric.at_most)
    columns = columns_of(metric, lines)
    assert lines or metric.name in NONE_AT_REST
    # The contract checks each column's type.
    datid = 1 if metric.scope is Scope.DATABASE else None
    epoch = 1 if metric.counters else None
    Frame(metric=metric.name, target="a", datid=datid, collected_at=1, epoch=epoch, columns=columns)


@pytest.mark.parametrize("metric", QUERIED, ids=lambda metric: metric.name)
def test_a_query_has_the_columns_even_where_it_has_no_rows(
    server: EmbeddedPostgres, session: Session, metric: Metric
) -> None:
    text = psql_text(session, metric.name)
    if "\ncopy (" not in text:
        text = "copy (\n" + text.rstrip(";\n") + "\n) to stdout;"
    text = text.replace(") to stdout;", ") to stdout (format csv, header);")
    done = server.run("psql", "-XqAtd", server.dsn(), "-v", "ON_ERROR_STOP=1", "-c", text)
    header = next(csv.reader(done.stdout.splitlines()))
    assert len(header) == len(metric.columns)


@pytest.mark.parametrize("name", names())
def test_the_query_for_this_server_runs_in_psql(server: EmbeddedPostgres, session: Session, name: str) -> None:
    collector = COLLECTED.get(name)
    text = psql_text(session, name)
    if "%(" in text:
        return  # a question of the session's own, which has its tests
    as_copied = ("-F", "\t", "-P", "null=\\N")
    done = server.run("psql", "-XqAtd", server.dsn(), *as_copied, "-v", "ON_ERROR_STOP=1", "-c", text)
    if collector is not None:
        columns_of(collector.metric, done.stdout.encode().splitlines())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_opens_with_its_purpose_privileges_and_cost(file: Path) -> None:
    text = file.read_text()
    comment = [line for line in text.splitlines() if line.startswith("--")]
    assert text.startswith("-- ")
    assert any("Privileges: " in line and "Cost: " in line for line in comment)
    code = "".join(line for line in text.splitlines() if not line.startswith("--"))
    assert code.count(";") == 1, "one query a file"
    assert text.endswith(";\n")


def test_every_file_is_a_query_that_is_found() -> None:
    assert {file.name.split(".")[0] for file in FILES} == set(names())
