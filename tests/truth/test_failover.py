"""Differences through a failover: a promoted standby begins anew, whatever its counters and its identity say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from contracts.metrics import CLUSTER, DATABASE_STATS, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres, free_port, new_directory
from tests.agent.polling import until
from tests.truth.story import Story


@contextmanager
def standby_of(source: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A standby that streams from the server, with the same programs."""
    standby = EmbeddedPostgres(new_directory("pganalytics-pg-"), free_port(), source.settings, source.programs)
    try:
        source.run("pg_basebackup", "-d", source.dsn(), "-D", str(standby.data), "-c", "fast", "--no-sync")
        (standby.data / "standby.signal").touch()
        shutil.chown(standby.data / "standby.signal", standby.data.owner(), standby.data.group())
        with (standby.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{source.dsn().replace(chr(39), chr(39) * 2)}'\n")
        standby.start()
        yield standby
    finally:
        standby.stop("immediate")
        shutil.rmtree(standby.directory, ignore_errors=True)


def _work(connection: psycopg.Connection, rows: int) -> None:
    known = "select pg_stat_get_tuples_inserted('visit'::regclass)"
    before = connection.execute(known).fetchone()
    with psycopg.connect(connection.info.dsn, autocommit=True) as worker:
        worker.execute("insert into visit select generate_series(1, %s)", (rows,))
    until(lambda: connection.execute(known).fetchone() != before)


def test_a_failover_begins_an_epoch_of_everything(story: Story, watched: EmbeddedPostgres) -> None:
    with closing(psycopg.connect(watched.dsn(), autocommit=True)) as primary:
        primary.execute("create table visit (id int)")
        _work(primary, 3)
        with standby_of(watched) as standby:
            story.watch(watched.dsn(), "postgres")
            for rows in (5, 7):
                _work(primary, rows)
                story.read(CLUSTER, TABLE_STATS, DATABASE_STATS)
            with closing(psycopg.connect(standby.dsn(), autocommit=True)) as replica:
                until(lambda: replica.execute("select count(*) from visit").fetchone() == (15,))
                watched.stop("immediate")
                replica.execute("select pg_promote()")
                # The same target has another address now.
                story.watch(standby.dsn(), "postgres")
                for rows in (11, 13):
                    _work(replica, rows)
                    story.read(CLUSTER, TABLE_STATS, DATABASE_STATS)
    assert story.deltas(TABLE_STATS, "n_tup_ins") == [None, 7, None, 13]
    assert not any(story.deltas(TABLE_STATS, "fell"))
    assert not any(story.deltas(DATABASE_STATS, "fell"))
    inserted = story.deltas(DATABASE_STATS, "tup_inserted", "datid <> 0 and numbackends > 0")
    assert [value is None for value in inserted] == [True, False, True, False]
    identities = story.connection.execute(
        "select count(distinct system_identifier), array_agg(timeline order by collected_at) from metric.cluster"
    ).fetchone()
    assert identities == (1, [1, 1, 2, 2])
