"""Differences through everything that makes counters begin anew: never negative, clamped or a lifetime's sum."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from contracts.metrics import DATABASE_STATS, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.truth.story import Story

#: What is done to a server, in a database of it.
Event = Callable[[EmbeddedPostgres, str], None]


def _sql(*statements: str) -> Event:
    def event(server: EmbeddedPostgres, database: str) -> None:
        with psycopg.connect(server.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    return event


def _crash(server: EmbeddedPostgres, database: str) -> None:
    with closing(psycopg.connect(server.dsn(database), autocommit=True)) as witness:
        with closing(psycopg.connect(server.dsn(database))) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        # The server ends all its sessions before it begins anew.
        until(lambda: _is_lost(witness))
    until(lambda: _answers(server))


def _is_lost(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return True
    return False


def _restart(mode: str) -> Event:
    return lambda server, _: server.restart(mode)


def _answers(server: EmbeddedPostgres) -> bool:
    try:
        with psycopg.connect(server.dsn()) as connection:
            return connection.execute("select not pg_is_in_recovery()").fetchone() == (True,)
    except psycopg.Error:
        return False


#: What happens, and whether the counters of a table and of its database begin anew with it.
EVENTS: dict[str, tuple[Event, bool]] = {
    "nothing": (_sql(), False),
    "pg_stat_reset": (_sql("select pg_stat_reset()"), True),
    "one table": (_sql("select pg_stat_reset_single_table_counters('visit'::regclass)"), True),
    "another table": (_sql("select pg_stat_reset_single_table_counters('other'::regclass)"), True),
    "all shared": (
        _sql(
            *(f"select pg_stat_reset_shared('{part}')" for part in ("archiver", "bgwriter", "wal")),
            "select pg_stat_reset_slru(null)",
        ),
        True,
    ),
    "crash of a backend": (_crash, True),
    "immediate stop": (_restart("immediate"), True),
    "clean restart": (_restart("fast"), False),
}


def _insert(server: EmbeddedPostgres, rows: int) -> None:
    """Insert so many rows, in one transaction, and wait until the statistics have them."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        known = "select coalesce(pg_stat_get_tuples_inserted('visit'::regclass), 0)"
        before = connection.execute(known).fetchone()
        connection.execute("insert into visit select generate_series(1, %s)", (rows,))
    with psycopg.connect(server.dsn(), autocommit=True) as reader:
        until(lambda: reader.execute(known).fetchone() != before)


@pytest.mark.parametrize("name", EVENTS)
def test_differences_are_right_through(name: str, story: Story, watched: EmbeddedPostgres) -> None:
    event, anew = EVENTS[name]
    _sql("create table visit (id int)", "create table other (id int)")(watched, "postgres")
    story.watch(watched.dsn(), "postgres")
    for rows in (3, 5):
        _insert(watched, rows)
        story.read(TABLE_STATS, DATABASE_STATS)
    event(watched, "postgres")
    for rows in (7, 11):
        _insert(watched, rows)
        story.read(TABLE_STATS, DATABASE_STATS)
    relid = f"relid = {_oid(watched, 'visit')}"
    assert story.deltas(TABLE_STATS, "n_tup_ins", relid) == [None, 5, None if anew else 7, 11]
    assert not any(story.deltas(TABLE_STATS, "fell"))
    # Whatever else happens in a database happens to its counters, too: they are bounded, not known.
    inserted = story.deltas(DATABASE_STATS, "tup_inserted", f"datid = {_database(watched)}")
    assert (inserted[0], inserted[2] is None) == (None, anew)
    assert all(value is None or 0 <= value < 10_000 for value in inserted)
    assert not any(story.deltas(DATABASE_STATS, "fell"))


def test_a_table_that_is_dropped_and_made_again_is_another_table(story: Story, watched: EmbeddedPostgres) -> None:
    make = _sql("create table visit (id int)")
    make(watched, "postgres")
    story.watch(watched.dsn(), "postgres")
    _insert(watched, 5)
    story.read(TABLE_STATS)
    first = _oid(watched, "visit")
    _sql("drop table visit")(watched, "postgres")
    make(watched, "postgres")
    for rows in (7, 11):
        _insert(watched, rows)
        story.read(TABLE_STATS)
    assert story.deltas(TABLE_STATS, "n_tup_ins", f"relid = {first}") == [None]
    assert story.deltas(TABLE_STATS, "n_tup_ins", f"relid = {_oid(watched, 'visit')}") == [None, 11]


def _oid(server: EmbeddedPostgres, table: str) -> int:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select %s::regclass::oid::bigint", (table,)).fetchone()
    assert row is not None
    return int(row[0])


def _database(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select oid::bigint from pg_database where datname = 'postgres'").fetchone()
    assert row is not None
    return int(row[0])
