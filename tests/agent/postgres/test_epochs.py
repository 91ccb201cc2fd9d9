"""Promises of epochs: one holds for a whole reading, and each kind begins anew with its own counters only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from agent.postgres.connection import SessionError
from agent.postgres.session import EpochOf, Session
from contracts.batch import Status
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.statistics import counted, reset_database
from tests.agent.targets.watching import databases


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A session in a database of the test's own, with pg_stat_statements in a schema that nobody searches."""
    with (
        databases(server, "epochs") as (name,),
        psycopg.connect(server.dsn(name), autocommit=True) as connection,
    ):
        connection.execute('create schema "Strange one"')
        connection.execute('create extension pg_stat_statements schema "Strange one"')
        counted(connection)
        yield connection


@pytest.fixture
def session(server: EmbeddedPostgres, admin: psycopg.Connection) -> Iterator[Session]:
    with closing(Session(server.dsn(admin.info.dbname))) as session:
        yield session


def test_a_reading_during_which_counters_are_reset_is_made_anew(session: Session, admin: psycopg.Connection) -> None:
    before = session.epoch("database")
    readings: list[int] = []

    def read() -> int:
        readings.append(len(readings))
        if len(readings) == 1:
            reset_database(admin)
        return readings[-1]

    answer, epoch = session.within_one_epoch("database", read)
    assert (answer, len(readings)) == (1, 2)
    assert epoch == session.epoch("database") != before


def test_a_reset_between_two_readings_is_seen_by_the_second(session: Session, admin: psycopg.Connection) -> None:
    _, before = session.within_one_epoch("database", lambda: None)
    reset_database(admin)
    _, after = session.within_one_epoch("database", lambda: None)
    assert before != after


def test_counters_reset_again_and_again_end_the_reading(session: Session, admin: psycopg.Connection) -> None:
    with pytest.raises(SessionError, match="again and again") as caught:
        session.within_one_epoch("database", lambda: reset_database(admin))
    assert caught.value.status is Status.ERROR


def test_a_reset_of_statements_is_an_epoch_of_statements_only(session: Session, admin: psycopg.Connection) -> None:
    kinds: tuple[EpochOf, ...] = ("cluster", "database", "statements")
    before = {of: session.epoch(of) for of in kinds}
    admin.execute('select "Strange one".pg_stat_statements_reset()')
    after = {of: session.epoch(of) for of in kinds}
    assert {of for of in kinds if before[of] != after[of]} == {"statements"}


def test_a_server_without_a_shared_view_has_epochs_all_the_same(session: Session, admin: psycopg.Connection) -> None:
    admin.execute("set allow_system_table_mods = on")
    admin.execute("alter view pg_catalog.pg_stat_wal rename to pg_stat_wal_of_another")
    before = session.epoch("cluster"), session.epoch("database")
    assert session.refused.keys() == {"epoch"}
    reset_database(admin)
    assert session.epoch("cluster") == before[0]
    assert session.epoch("database") != before[1]


def test_an_extension_is_found_in_its_schema_and_nothing_else_is(session: Session) -> None:
    assert len(session.rows("statements_epoch", extension="pg_stat_statements")) == 1
    assert session._connection is not None
    assert session._connection.execute("show search_path").fetchone() == ("pg_catalog",)


def test_an_extension_that_is_missing_is_unsupported_and_says_what_to_create(server: EmbeddedPostgres) -> None:
    with (
        databases(server, "without") as (name,),
        closing(Session(server.dsn(name))) as session,
        pytest.raises(SessionError, match=f"create extension pg_stat_statements in database {name}") as caught,
    ):
        session.epoch("statements")
    assert caught.value.status is Status.UNSUPPORTED
