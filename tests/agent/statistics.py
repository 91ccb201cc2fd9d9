"""What PostgreSQL counts, brought about in tests in a way that holds on every version.

Sessions of PostgreSQL 14 tell their counters to a collector: at most every half second, at the end of a statement; what
is read may be half a second old. Since 15 they are in shared memory.
"""

from __future__ import annotations

import psycopg

from tests.agent.polling import until


def flush(connection: psycopg.Connection) -> None:
    """Have this session tell what it counted; others see it as soon as they look, on PostgreSQL 14 soon after."""
    (at_once,) = connection.execute("select to_regproc('pg_stat_force_next_flush') is not null").fetchone() or (False,)
    # The server waits here, not the test: it says nothing of its own accord within half a second of the last time.
    connection.execute("select pg_stat_force_next_flush()" if at_once else "select pg_sleep(0.6)")
    connection.execute("select 1")


def reset(connection: psycopg.Connection, statement: str, view: str) -> None:
    """Reset statistics, and see it in that view."""
    seen = f"select array_agg(stats_reset order by stats_reset) from {view}".encode()
    before = connection.execute(seen).fetchone()
    connection.execute(statement.encode())
    until(lambda: connection.execute(seen).fetchone() != before)


def reset_database(connection: psycopg.Connection) -> None:
    """Reset the statistics of this session's database, and see it."""
    reset(connection, "select pg_stat_reset()", "pg_stat_database where datname = current_database()")


def reset_shared(connection: psycopg.Connection) -> None:
    """Reset the shared statistics whose resets tell of a crash, and see it."""
    for part in ("archiver", "bgwriter", "wal"):
        reset(connection, f"select pg_stat_reset_shared('{part}')", f"pg_stat_{part}")
    reset(connection, "select pg_stat_reset_slru(null)", "pg_stat_slru")


def counted(connection: psycopg.Connection) -> None:
    """Return once the database of this session has statistics: PostgreSQL 14 dates them from the first it is told."""
    seen = "select xact_commit > 0 from pg_stat_database where datname = current_database()"
    until(lambda: connection.execute(seen).fetchone() == (True,))
