"""Promises of `progress`: every long command is one row with what PostgreSQL's own view says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from contracts.batch import Status
from contracts.metrics import PROGRESS
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.queries.acting import Row, ask, clock, pid, read, role, session, value
from tests.agent.targets.watching import Watched, watched
from tests.servers import NewServer

#: Building an index with it waits until whoever has the lock lets it go: at the hundredth row.
WORK = """
    create table plain (id int primary key, name text);
    insert into plain select g, repeat('x', 500) from generate_series(1, 2000) g;
    create function waits(int) returns int immutable language plpgsql as $$
    begin
        if $1 = 100 then
            perform pg_advisory_xact_lock_shared(1);
        end if;
        return $1;
    end $$;
    create table slow (id int);
    insert into slow select generate_series(1, 200);
    create index slow_waits on slow (waits(id));
"""


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, where nothing else is going on."""
    with new_server({**THROWAWAY, "autovacuum": "off"}) as running, session(running.dsn()) as admin:
        admin.execute(WORK)
        admin.execute("vacuum analyze")
        yield running


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn()) as connection:
        yield connection


@pytest.fixture
def worker(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn()) as connection:
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(server.dsn()) as one:
        yield one


@contextmanager
def ended(admin: psycopg.Connection, worker: psycopg.Connection) -> Iterator[None]:
    """What the session does is over afterwards, whatever became of it."""
    try:
        yield
    finally:
        admin.execute("select pg_cancel_backend(%s)", (pid(worker),))
        active = "select count(*) from pg_stat_activity where pid = %s and state = 'active'"
        until(lambda: value(admin, active, pid(worker)) == 0)


def one(watching: Watched, holds: Callable[[Row], object]) -> Row:
    """The one row there is, once it is as wanted."""
    rows: list[Row] = []

    def there() -> bool:
        rows[:] = read(watching, PROGRESS)
        return len(rows) == 1 and bool(holds(rows[0]))

    until(there)
    return rows[0]


def relid(admin: psycopg.Connection, name: str) -> int:
    return int(value(admin, "select %s::regclass::oid", name))


def says(admin: psycopg.Connection, view: str) -> Row:
    """The one row of a view."""
    cursor = admin.execute(f"select * from pg_stat_progress_{view}".encode())
    (row,) = cursor.fetchall()
    return dict(zip((column.name for column in cursor.description or ()), row, strict=True))


def test_where_nothing_is_under_way_the_agents_own_copy_is_not_told(watching: Watched) -> None:
    assert read(watching, PROGRESS) == []
    assert watching.run(PROGRESS).status is Status.EMPTY


@pytest.mark.parametrize("command", ["VACUUM", "ANALYZE"])
def test_a_vacuum_that_sleeps_tells_how_far_it_is(
    admin: psycopg.Connection, worker: psycopg.Connection, watching: Watched, command: str
) -> None:
    major = worker.info.server_version // 10_000
    worker.execute("set vacuum_cost_delay = 20; set vacuum_cost_limit = 1; set vacuum_cost_page_hit = 10")
    if major >= 18:
        worker.execute("set track_cost_delay_timing = on")
    admin.execute("update plain set name = name where id <= 10")
    began = clock(admin)
    with ended(admin, worker):
        ask(worker, f"{command.lower()} plain")
        row = one(watching, lambda row: row["blocks_done"] and (row["delay_time_us"] or major < 18))
        truth = says(admin, command.lower())
        assert row["running_us"] <= clock(admin) - began
    blocks = value(admin, "select pg_relation_size('plain') / current_setting('block_size')::int")
    assert (row["pid"], row["command"], row["relid"]) == (pid(worker), command, relid(admin, "plain"))
    assert (row["datid"], row["backend_type"]) == (truth["datid"], "client backend")
    assert row["blocks_total"] == blocks
    prefix = "heap_blks" if command == "VACUUM" else "sample_blks"
    assert 0 < row["blocks_done"] <= truth[f"{prefix}_scanned"] <= blocks
    assert row["phase"] == {"VACUUM": "scanning heap", "ANALYZE": "acquiring sample rows"}[command]
    if command == "VACUUM":
        assert row["index_vacuum_count"] == 0
        room = "max_dead_tuple_bytes" if major >= 17 else "max_dead_tuples"
        assert row[room] == truth[room] > 0
        assert 0 <= row["dead_tuples"] <= truth["num_dead_item_ids" if major >= 17 else "num_dead_tuples"]
    assert (row["delay_time_us"] is None) == (major < 18)
    assert row["tuples_total"] is row["bytes_total"] is row["index_relid"] is None


def test_a_concurrent_index_build_tells_for_whom_it_waits(
    server: EmbeddedPostgres, admin: psycopg.Connection, worker: psycopg.Connection, watching: Watched
) -> None:
    with session(server.dsn()) as locker, ended(admin, worker):
        locker.execute("begin; lock table plain in row exclusive mode")
        ask(worker, "create index concurrently plain_name on plain (name)")
        row = one(watching, lambda row: row["current_locker_pid"])
        truth = says(admin, "create_index")
        assert row["current_locker_pid"] == pid(locker)
    assert row["command"] == "CREATE INDEX CONCURRENTLY"
    assert row["phase"] == "waiting for writers before build"
    assert (row["lockers_total"], row["lockers_done"]) == (1, 0)
    assert (row["relid"], row["index_relid"]) == (relid(admin, "plain"), truth["index_relid"])
    assert (row["parts_total"], row["parts_done"]) == (truth["partitions_total"], truth["partitions_done"])
    admin.execute("drop index plain_name")


@pytest.mark.parametrize("command", ["VACUUM FULL", "CREATE INDEX"])
def test_what_builds_an_index_tells_blocks_and_rows(
    server: EmbeddedPostgres, admin: psycopg.Connection, worker: psycopg.Connection, watching: Watched, command: str
) -> None:
    statement, view, phase = {
        "VACUUM FULL": ("vacuum full slow", "cluster", "rebuilding index"),
        "CREATE INDEX": ("create index on slow (waits(id))", "create_index", "building index: scanning table"),
    }[command]
    with session(server.dsn()) as holder, ended(admin, worker):
        holder.execute("select pg_advisory_lock(1)")
        ask(worker, statement)
        until(lambda: value(admin, "select count(*) from pg_locks where not granted"))
        (row,) = read(watching, PROGRESS)
        truth = says(admin, view)
    assert (row["pid"], row["command"], row["phase"]) == (pid(worker), command, phase)
    assert row["relid"] == truth["relid"] == relid(admin, "slow")
    if command == "VACUUM FULL":
        assert (row["blocks_total"], row["blocks_done"]) == (truth["heap_blks_total"], truth["heap_blks_scanned"])
        assert row["tuples_done"] == row["tuples_written"] == truth["heap_tuples_written"] == 200
        assert row["indexes_done"] == truth["index_rebuild_count"] == 0
    else:
        assert (row["blocks_total"], row["blocks_done"]) == (truth["blocks_total"], truth["blocks_done"])
        assert (row["tuples_total"], row["tuples_done"]) == (truth["tuples_total"], truth["tuples_done"])
        assert row["index_relid"] == truth["index_relid"]
        assert row["blocks_total"] > 0


def test_a_copy_of_unknown_length_tells_what_it_has_done(
    admin: psycopg.Connection, worker: psycopg.Connection, watching: Watched
) -> None:
    with worker.cursor().copy("copy plain from stdin where id % 2 = 0") as copy:
        for number in range(10_000, 30_000):
            copy.write_row((number, "y" * 50))
        until(lambda: says(admin, "copy")["tuples_processed"] > 1000)
        # The client sends nothing more: it stands once all that came is copied.
        stands: list[Row] = []

        def settled() -> bool:
            stands.append(says(admin, "copy"))
            return len(stands) > 1 and stands[-1] == stands[-2]

        until(settled)
        row = one(watching, lambda row: row["bytes_done"] == says(admin, "copy")["bytes_processed"])
        truth = says(admin, "copy")
        copy.write_row((30_000, "z"))
    assert (row["command"], row["phase"], row["relid"]) == ("COPY FROM", None, relid(admin, "plain"))
    assert row["tuples_done"] == truth["tuples_processed"]
    assert row["tuples_excluded"] == truth["tuples_excluded"] > 0
    assert row["bytes_total"] is None
    assert row["bytes_done"] > 500_000
    assert row["tuples_skipped"] == truth.get("tuples_skipped")
    admin.execute("delete from plain where id >= 10000")


def test_a_base_backup_that_nobody_reads_stands_still(
    server: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched
) -> None:
    with psycopg.connect(server.dsn(), autocommit=True, replication="true") as receiver:
        ask(receiver, "BASE_BACKUP")
        one(watching, lambda row: row["phase"])
        admin.execute("checkpoint")  # which the backup waits for
        row = one(watching, lambda row: row["phase"] == "streaming database files" and row["bytes_done"])
        assert (row["pid"], row["command"], row["backend_type"]) == (pid(receiver), "BASE BACKUP", "walsender")
        assert (row["relid"], row["datid"]) == (0, None)
        assert (row["parts_total"], row["parts_done"]) == (1, 0)
        assert row["bytes_total"] is None
        assert row["bytes_done"] <= says(admin, "basebackup")["backup_streamed"]
        receiver.close()


def test_a_role_without_rights_sees_that_something_is_under_way(
    server: EmbeddedPostgres, admin: psycopg.Connection, worker: psycopg.Connection
) -> None:
    with session(server.dsn()) as holder, ended(admin, worker):
        holder.execute("select pg_advisory_lock(1)")
        ask(worker, "create index on slow (waits(id))")
        until(lambda: value(admin, "select count(*) from pg_locks where not granted"))
        with role(server) as humble, watched(server.dsn(user=humble)) as watching:
            (row,) = read(watching, PROGRESS)
            run = watching.run(PROGRESS)
    assert (row["pid"], row["command"], row["relid"]) == (pid(worker), "CREATE INDEX", None)
    assert run.status is Status.PERMISSION
