"""Promises of sizes: those of PostgreSQL's own functions, and nothing waits for a lock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from contracts.batch import Mode, Status
from contracts.document import DatabaseSettings, Document
from contracts.metrics import RELATION_SIZE, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Rows, Watched, databases, rows_of, truth, watched

WORK = """
    create table plain (id int primary key, big text);
    create index plain_big on plain (left(big, 10));
    create table other (id int primary key, big text);
    create table no_index (a int);
    create unlogged table unlogged_one (a int primary key);
    create table parted (id int primary key) partition by range (id);
    create table parted_1 partition of parted for values from (0) to (1000);
    create materialized view matview as select 1 as one;
    alter table plain alter column big set storage external;
    insert into plain select g, repeat(md5(g::text), 300) from generate_series(1, 500) g;
    insert into other select * from plain;
    insert into no_index select generate_series(1, 10000);
    insert into unlogged_one select generate_series(1, 1000);
    insert into parted select generate_series(1, 900);
"""

SIZES = """
    select c.oid::int8,
        pg_table_size(c.oid) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0) as size_bytes,
        pg_relation_size(c.oid) as main_bytes,
        pg_relation_size(c.oid, 'fsm') + pg_relation_size(c.oid, 'vm') as map_bytes,
        pg_total_relation_size(nullif(reltoastrelid, 0)) as toast_bytes,
        case when relkind <> 'i' then pg_indexes_size(c.oid) end as indexes_bytes,
        pg_total_relation_size(c.oid) as total_bytes,
        nullif(reltuples, -1)::int8 as estimated_rows,
        relpages::int8 as estimated_pages
    from pg_class c
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'm', 'i')
"""


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    with databases(server, "sizes") as (name,), psycopg.connect(server.dsn(name), autocommit=True) as admin:
        admin.execute(WORK)
        admin.execute("vacuum analyze")
        yield name


@pytest.fixture
def watching(server: EmbeddedPostgres, database: str) -> Iterator[Watched]:
    with watched(server.dsn(database)) as one:
        one.target.apply(Document(databases=DatabaseSettings(include=(database,))))
        yield one


@pytest.fixture
def reader(server: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        yield connection


@contextmanager
def holding(server: EmbeddedPostgres, database: str, statement: str) -> Iterator[None]:
    """Whatever locks this statement takes are held."""
    with psycopg.connect(server.dsn(database)) as connection:
        connection.execute(statement.encode())
        yield
        connection.rollback()


@contextmanager
def waiting(server: EmbeddedPostgres, database: str, table: str) -> Iterator[None]:
    """Somebody reads the table and does not end; somebody else waits for an AccessExclusiveLock on it."""
    lock = sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(table))
    with (
        holding(server, database, f"select * from {table} limit 1"),
        psycopg.connect(server.dsn(database)) as waits,
        psycopg.connect(server.dsn(database), autocommit=True) as looks,
    ):

        def wait() -> None:
            with pytest.raises(psycopg.errors.QueryCanceled):
                waits.execute(lock)

        thread = threading.Thread(target=wait)
        thread.start()
        until(
            lambda: looks.execute(
                "select from pg_locks where not granted and relation = %s::regclass", (table,)
            ).fetchall()
        )
        try:
            yield
        finally:
            looks.execute("select pg_cancel_backend(%s)", (waits.info.backend_pid,))
            thread.join()


def oid_of(reader: psycopg.Connection, name: str) -> int:
    ((oid,),) = reader.execute("select %s::regclass::oid::int8", (name,))
    return int(oid)


def without(rows: Rows, *oids: int) -> Rows:
    return {oid: row for oid, row in rows.items() if oid not in oids}


def test_sizes_are_those_of_the_servers_own_functions(watching: Watched, reader: psycopg.Connection) -> None:
    found = rows_of(watching.frame(RELATION_SIZE))
    expected = truth(reader, SIZES)
    assert found == {
        oid: {"relid": oid, **{k: v for k, v in row.items() if k != "oid"}} for oid, row in expected.items()
    }
    plain = found[oid_of(reader, "plain")]
    assert plain["toast_bytes"] > 500 * 9000
    assert (plain["estimated_rows"], found[oid_of(reader, "no_index")]["indexes_bytes"]) == (500, 0)
    assert oid_of(reader, "parted_1") in found
    assert oid_of(reader, "parted") not in found


def test_an_unchanged_size_does_not_travel(watching: Watched, reader: psycopg.Connection) -> None:
    watching.frame(RELATION_SIZE)
    reader.execute("insert into no_index select generate_series(1, 10000)")
    frame = watching.frame(RELATION_SIZE)
    assert frame.mode is Mode.CHANGED
    assert set(rows_of(frame)) == {oid_of(reader, "no_index")}


@pytest.mark.parametrize("granted", [True, False])
def test_a_table_with_an_exclusive_lock_held_or_waited_for_is_left_out_and_all_others_have_their_sizes(
    server: EmbeddedPostgres, database: str, watching: Watched, reader: psycopg.Connection, granted: bool
) -> None:
    expected, plain = rows_of(watching.frame(RELATION_SIZE)), oid_of(reader, "plain")
    watching.changes.forget()
    lock = "lock table plain in access exclusive mode"
    with holding(server, database, lock) if granted else waiting(server, database, "plain"):
        contents = watching.collect(RELATION_SIZE)
        stats = watching.run(TABLE_STATS)
    found = rows_of(contents.frames[0])
    names = [name for name in RELATION_SIZE.names if name.endswith("_bytes") and name != "indexes_bytes"]
    assert [found[plain][name] for name in names] == [None] * len(names)
    assert without(found, plain) == without(expected, plain)
    (run,) = contents.runs
    assert (run.status, run.rows, run.rows_available) == (Status.LOCKED, len(expected) - 1, len(expected))
    assert stats.status is Status.OK


def test_a_lock_on_a_toast_index_leaves_its_table_out_and_one_on_an_index_the_tables_total(
    server: EmbeddedPostgres, database: str, watching: Watched, reader: psycopg.Connection
) -> None:
    expected, plain, index = (
        rows_of(watching.frame(RELATION_SIZE)),
        oid_of(reader, "plain"),
        oid_of(reader, "plain_big"),
    )
    ((toast,),) = reader.execute("select 'pg_toast.pg_toast_' || 'plain'::regclass::oid || '_index'")
    watching.changes.forget()
    with holding(server, database, f"reindex index {toast}"):
        found = rows_of(watching.frame(RELATION_SIZE))
    assert found[plain]["size_bytes"] is found[plain]["toast_bytes"] is found[plain]["total_bytes"] is None
    assert without(found, plain) == without(expected, plain)
    watching.changes.forget()
    with holding(server, database, "reindex index plain_big"):
        contents = watching.collect(RELATION_SIZE)
    found = rows_of(contents.frames[0])
    assert found[index]["size_bytes"] is None
    assert found[plain] == {**expected[plain], "indexes_bytes": None, "total_bytes": None}
    assert without(found, plain, index) == without(expected, plain, index)
    assert contents.runs[0].rows_available == contents.runs[0].rows + 1


def test_a_table_that_is_dropped_is_gone_and_not_locked(watching: Watched, reader: psycopg.Connection) -> None:
    no_index = oid_of(reader, "no_index")
    watching.frame(RELATION_SIZE)
    reader.execute("drop table no_index")
    contents = watching.collect(RELATION_SIZE)
    assert contents.frames[0].gone == {"relid": [no_index]}
    assert contents.runs[0].status is Status.OK
