"""A standby of a server of ours, which follows it by streaming."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg

from infra.standalone.embedded import EmbeddedPostgres, free_port, new_directory
from tests.agent.polling import until


@contextmanager
def standby_of(primary: EmbeddedPostgres, settings: Mapping[str, str]) -> Iterator[EmbeddedPostgres]:
    """A running standby with these settings, removed at the end."""
    directory = new_directory("pganalytics-standby-")
    standby = EmbeddedPostgres(directory, free_port(), settings, primary.programs)
    try:
        primary.run("pg_basebackup", "-d", primary.dsn(), "-D", str(standby.data), "-R", "-c", "fast", "--no-sync")
        standby.start()
        yield standby
    finally:
        standby.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


def caught_up(primary: psycopg.Connection, standby: psycopg.Connection) -> None:
    """Wait until the standby has replayed what the primary has written so far."""
    (written,) = primary.execute("select pg_current_wal_insert_lsn()::text").fetchone() or ("",)
    until(lambda: standby.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,)).fetchone() == (True,))
