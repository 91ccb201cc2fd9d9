"""Promises of epochs: whenever counters begin anew the next frame is full and says so; otherwise it does not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from contracts.batch import Mode
from contracts.document import DatabaseSettings, Document
from contracts.metrics import DATABASE, DATABASE_STATS, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.statistics import counted, reset_database, reset_shared
from tests.agent.targets.watching import Watched, databases, watched
from tests.servers import NewServer


@pytest.fixture
def own(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server that the test may break."""
    with new_server() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            counted(connection)
        yield server


def only(watching: Watched, *names: str) -> Watched:
    watching.target.apply(Document(databases=DatabaseSettings(include=names)))
    return watching


def test_a_reset_of_a_databases_statistics_is_an_epoch_of_that_database(server: EmbeddedPostgres) -> None:
    with databases(server, "reset", "other") as (name, other), watched(server.dsn()) as watching:
        only(watching, name, other)
        for database in (name, other):
            with psycopg.connect(server.dsn(database), autocommit=True) as connection:
                counted(connection)
        before = {frame.datid: frame for frame in watching.collect(TABLE_STATS).frames}
        cluster = watching.frame(DATABASE_STATS).epoch
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            row = connection.execute("select oid::int8 from pg_database where datname = current_database()").fetchone()
            reset_database(connection)
        assert row is not None
        after = {frame.datid: frame for frame in watching.collect(TABLE_STATS).frames}
        for datid in before:
            was_reset = datid == row[0]
            assert (after[datid].epoch != before[datid].epoch) is was_reset
            assert after[datid].mode is (Mode.FULL if was_reset else Mode.CHANGED)
        assert watching.frame(DATABASE_STATS).epoch == cluster


def test_a_reset_of_shared_statistics_is_an_epoch_of_everything(own: EmbeddedPostgres) -> None:
    with watched(own.dsn()) as watching:
        only(watching, "postgres")
        before = watching.frame(DATABASE_STATS), watching.frame(TABLE_STATS)
        assert watching.frame(DATABASE_STATS).mode is Mode.CHANGED
        # The least of four resets is the epoch: only when all are newer has everything begun anew.
        with psycopg.connect(own.dsn(), autocommit=True) as connection:
            reset_shared(connection)
        after = watching.frame(DATABASE_STATS), watching.frame(TABLE_STATS)
        for one, other in zip(before, after, strict=True):
            assert one.epoch != other.epoch
            assert other.mode is Mode.FULL


def test_a_crash_of_the_server_is_an_epoch_and_a_restart_is_none(own: EmbeddedPostgres) -> None:
    with watched(own.dsn()) as watching:
        only(watching, "postgres")
        before = watching.frame(DATABASE_STATS).epoch, watching.frame(TABLE_STATS).epoch
        own.restart()
        watching.target.close()
        assert (watching.frame(DATABASE_STATS).epoch, watching.frame(TABLE_STATS).epoch) == before
        with psycopg.connect(own.dsn(), autocommit=True) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)

        def back() -> bool:
            try:
                with psycopg.connect(own.dsn()):
                    return "all server processes terminated" in own.log.read_text()
            except psycopg.OperationalError:
                return False

        until(back)
        frames = []  # type: ignore[var-annotated]
        until(lambda: frames.extend(watching.collect(DATABASE_STATS).frames) or frames)  # type: ignore[func-returns-value, redundant-expr]
        assert frames[0].epoch != before[0]
        assert frames[0].mode is Mode.FULL
        tables = []  # type: ignore[var-annotated]
        until(lambda: tables.extend(watching.collect(TABLE_STATS).frames) or tables)  # type: ignore[func-returns-value, redundant-expr]
        assert tables[0].epoch != before[1]


def test_an_immediate_stop_is_an_epoch_of_everything(own: EmbeddedPostgres) -> None:
    with watched(own.dsn()) as watching:
        only(watching, "postgres")
        before = watching.frame(DATABASE_STATS), watching.frame(TABLE_STATS)
        own.restart("immediate")
        watching.target.close()
        after = watching.frame(DATABASE_STATS), watching.frame(TABLE_STATS)
        for one, other in zip(before, after, strict=True):
            assert one.epoch != other.epoch
            assert other.mode is Mode.FULL


def test_metrics_without_counters_have_no_epoch(server: EmbeddedPostgres) -> None:
    with watched(server.dsn()) as watching:
        assert watching.frame(DATABASE).epoch is None
