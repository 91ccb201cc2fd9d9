"""A known load is reported exactly: commits of a database, calls of a statement, rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from contracts.metrics import DATABASE_STATS, STATEMENT_STATS, STATEMENT_TEXT, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.truth.story import Story

_CLIENTS, _TRANSACTIONS = 4, 250

#: Runs so many transactions for each client.
Load = Callable[[int], None]


@pytest.fixture
def admin(watched: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(watched.dsn(), autocommit=True)) as connection:
        connection.execute("alter system set autovacuum = off")
        connection.execute("select pg_reload_conf()")
        connection.execute("create database load")
        yield connection


@pytest.fixture
def load(watched: EmbeddedPostgres, admin: psycopg.Connection) -> Load:
    """pgbench in a database of its own; when it is over the statistics have all of it."""
    place = ("-h", str(watched.directory), "-p", str(watched.port), "-U", "postgres", "load")
    watched.run("pgbench", "-i", "-q", *place)

    def run(transactions: int) -> None:
        watched.run("pgbench", "-n", "-c", str(_CLIENTS), "-t", str(transactions), *place)
        sessions = "select 1 from pg_stat_activity where datname = 'load' and application_name = 'pgbench'"
        until(lambda: admin.execute(sessions).fetchone() is None)
        seen: list[int] = []

        def settled() -> bool:
            # On PostgreSQL 14 a collector writes the statistics, up to a second late: so long nothing is to move.
            seen.append(_commits(admin))
            return len(seen) > 150 and len(set(seen[-150:])) == 1

        until(settled)

    return run


def _commits(admin: psycopg.Connection) -> int:
    row = admin.execute("select xact_commit from pg_stat_database where datname = 'load'").fetchone()
    assert row is not None
    return int(row[0])


def test_commits_of_a_database_and_calls_of_a_statement(
    story: Story, watched: EmbeddedPostgres, admin: psycopg.Connection, load: Load
) -> None:
    # Whoever looks into the database adds commits of its own: here nobody does.
    story.watch(watched.dsn(), "load")
    load(1)
    before = _commits(admin)
    story.read(DATABASE_STATS, STATEMENT_STATS, STATEMENT_TEXT)
    load(_TRANSACTIONS)
    after = _commits(admin)
    story.read(DATABASE_STATS, STATEMENT_STATS, STATEMENT_TEXT)
    database = "datid = (select max(datid) from metric.database_stats)"
    assert story.deltas(DATABASE_STATS, "xact_commit", database) == [None, after - before]
    # pgbench's sessions have some transactions besides those of its script.
    assert 0 <= after - before - _CLIENTS * _TRANSACTIONS <= 4 * _CLIENTS
    inserts = (
        "queryid in (select queryid from metric.statement_text where starts_with(query, 'INSERT INTO pgbench_history'))"
    )
    assert story.deltas(STATEMENT_STATS, "calls", inserts) == [None, _CLIENTS * _TRANSACTIONS]
    assert story.deltas(STATEMENT_STATS, "rows", inserts) == [None, _CLIENTS * _TRANSACTIONS]


def test_rows_of_tables(story: Story, watched: EmbeddedPostgres, load: Load) -> None:
    story.watch(watched.dsn(), "load")
    load(1)
    story.read(TABLE_STATS)
    load(_TRANSACTIONS)
    story.read(TABLE_STATS)
    with closing(psycopg.connect(watched.dsn("load"))) as connection:
        found = connection.execute("select relname, oid::int8 from pg_class where relname like 'pgbench%'").fetchall()
    relid: dict[str, int] = dict(found)
    for table, column in (
        ("pgbench_history", "n_tup_ins"),
        ("pgbench_accounts", "n_tup_upd"),
        ("pgbench_tellers", "n_tup_upd"),
        ("pgbench_branches", "n_tup_upd"),
    ):
        deltas = story.deltas(TABLE_STATS, column, f"relid = {relid[table]}")
        assert deltas == [None, _CLIENTS * _TRANSACTIONS], table
