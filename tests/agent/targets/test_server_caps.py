"""Promises of caps on tables and indexes: the busiest stay, what was left out is counted, nothing below is lost."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from contracts.batch import Mode, Status
from contracts.document import DatabaseSettings, Document, MetricSettings
from contracts.metrics import INDEX_STATS, TABLE_STATS, Metric
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Watched, databases, rows_of, watched


@pytest.fixture
def busy(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """Ten tables with an index each; the first three have been used."""
    with databases(server, "caps") as (name,):
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            for number in range(10):
                connection.execute(f"create table table_{number} (a int primary key)")
            for number in range(3):
                connection.execute(f"insert into table_{number} select generate_series(1, 5000)")
        # The statistics of a session that ended arrive when they arrive.
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            arrived = "select from pg_statio_user_tables where heap_blks_hit > 0 and idx_blks_hit > 0"
            until(lambda: len(connection.execute(arrived).fetchall()) == 3)
            yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres, busy: psycopg.Connection) -> Iterator[Watched]:
    with watched(server.dsn(busy.info.dbname)) as one:
        yield one


def capped(watching: Watched, database: str, metric: Metric, at_most: int) -> None:
    metrics = {metric.name: MetricSettings(at_most=at_most)}
    watching.target.apply(Document(databases=DatabaseSettings(include=(database,)), metrics=metrics))


@pytest.mark.parametrize(("metric", "pattern"), [(TABLE_STATS, "table__"), (INDEX_STATS, "table___pkey")])
def test_the_busiest_stay_and_the_true_number_is_told(
    busy: psycopg.Connection, watching: Watched, metric: Metric, pattern: str
) -> None:
    names: dict[int, str] = dict(
        busy.execute("select oid::int8, relname from pg_class where relname like %s", (pattern,)).fetchall()
    )
    busiest = {oid for oid, name in names.items() if name[6] in "012"}
    capped(watching, busy.info.dbname, metric, 3)
    contents = watching.collect(metric)
    assert set(rows_of(contents.frames[0])) == busiest
    (run,) = contents.runs
    assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, 3, 10)
    capped(watching, busy.info.dbname, metric, 10)
    contents = watching.collect(metric)
    assert set(rows_of(contents.frames[0])) == set(names) - busiest, "the others are new, these have not changed"
    assert contents.frames[0].mode is Mode.CHANGED
    assert (contents.runs[0].status, contents.runs[0].rows_available) == (Status.OK, None)


def test_what_falls_below_the_cap_is_gone_and_which_stay_does_not_waver(
    busy: psycopg.Connection, watching: Watched
) -> None:
    capped(watching, busy.info.dbname, TABLE_STATS, 6)
    first = rows_of(watching.frame(TABLE_STATS))
    frame = watching.frame(TABLE_STATS)
    assert (frame.rows, frame.gone) == (0, None)
    capped(watching, busy.info.dbname, TABLE_STATS, 5)
    gone = watching.frame(TABLE_STATS).gone
    assert gone is not None
    assert set(gone["relid"]) < set(first)
    assert len(gone["relid"]) == 1
