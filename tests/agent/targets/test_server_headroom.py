"""Promises of a server's headroom: what space is taken, how old transactions are, and who holds them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from contracts.batch import Status
from contracts.document import Document, MetricSettings
from contracts.metrics import DATABASE_SIZE, PREPARED_XACT, TABLESPACE_SIZE, WAL_FILES, XID_AGE, XMIN_HOLDER
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, new_directory
from tests.agent.polling import until
from tests.agent.targets.views import value_of
from tests.agent.targets.watching import Rows, Watched, agreed, databases, rows_of, truth, watched
from tests.servers import NewServer


@pytest.fixture(scope="module")
def own(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server that prepares transactions, decodes WAL, archives nothing, and knows a role without rights."""
    settings = {**THROWAWAY, "max_prepared_transactions": "5", "wal_level": "logical", "autovacuum": "off"}
    with new_server({**settings, "archive_mode": "on"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("alter system set archive_command = 'false'")
            admin.execute("select pg_reload_conf()")
            admin.execute("create role plain login")
            admin.execute("create table held (id bigint, t text)")
        yield server


@pytest.fixture
def admin(own: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def watching(own: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(own.dsn()) as one:
        yield one


@contextmanager
def prepared(own: EmbeddedPostgres, gid: str) -> Iterator[int]:
    """A prepared transaction; its id."""
    with psycopg.connect(own.dsn(), autocommit=True) as connection:
        connection.execute("begin")
        (xid,) = connection.execute("select txid_current() % (2^32)::bigint").fetchone() or (0,)
        connection.execute("insert into held values (%s)", (xid,))
        connection.execute(sql.SQL("prepare transaction {}").format(gid))
        yield int(xid)
        connection.execute(sql.SQL("rollback prepared {}").format(gid))


def test_sizes_of_databases_are_postgresqls(admin: psycopg.Connection, watching: Watched) -> None:
    expected = "select oid::int8 as datid, pg_database_size(oid) as size_bytes from pg_database"
    found = agreed(lambda: rows_of(watching.frame(DATABASE_SIZE)), lambda: truth(admin, expected))
    assert len(found) >= 3
    assert watching.run(DATABASE_SIZE).status is Status.OK


def test_a_size_that_the_role_may_not_ask_for_is_null_and_told(
    own: EmbeddedPostgres, admin: psycopg.Connection
) -> None:
    with databases(own, "private", "closed") as (private, closed):
        admin.execute(sql.SQL("revoke connect on database {} from public").format(sql.Identifier(private)))
        admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(closed)))
        names = {oid: row["datname"] for oid, row in truth(admin, "select oid::int8, datname from pg_database").items()}
        with watched(own.dsn(user="plain")) as humble:
            contents = humble.collect(DATABASE_SIZE)
        sizes = {names[oid]: row["size_bytes"] for oid, row in rows_of(contents.frames[0]).items()}
        assert {name for name, size in sizes.items() if size is None} == {private}
        assert sizes[closed] > 0
        (run,) = contents.runs
        assert (run.status, run.rows, run.rows_available) == (Status.PERMISSION, len(names) - 1, len(names))
        assert run.detail == f"1 of {len(names)} are withheld; grant pg_monitor to the agent's role"
        admin.execute("grant pg_read_all_stats to plain")
        try:
            with watched(own.dsn(user="plain")) as trusted:
                assert all(row["size_bytes"] for row in rows_of(trusted.frame(DATABASE_SIZE)).values())
                assert trusted.run(DATABASE_SIZE).status is Status.OK
        finally:
            admin.execute("revoke pg_read_all_stats from plain")


@pytest.mark.parametrize("user", ["postgres", "plain"])
def test_a_database_that_is_dropped_while_sizes_are_read_costs_nothing(
    own: EmbeddedPostgres, admin: psycopg.Connection, user: str
) -> None:
    name = f"going_{uuid4().hex[:8]}"
    admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    (oid,) = admin.execute("select oid::int8 from pg_database where datname = %s", (name,)).fetchone() or (0,)
    with watched(own.dsn(user=user)) as watching:
        watching.frame(DATABASE_SIZE)
        connection = watching.target._cluster._connection
        assert connection is not None
        # A snapshot that still sees what is gone by the time its size is asked for.
        connection.execute("begin isolation level repeatable read")
        assert oid in rows_of(watching.frame(DATABASE_SIZE))
        admin.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
        contents = watching.collect(DATABASE_SIZE)
        assert contents.runs[0].status is Status.OK
        assert oid not in rows_of(contents.frames[0])


def test_tablespaces_have_their_place_and_size(own: EmbeddedPostgres, admin: psycopg.Connection) -> None:
    directory = new_directory("pganalytics-space-")
    admin.execute(sql.SQL("create tablespace elsewhere location {}").format(str(directory)))
    admin.execute("create table placed tablespace elsewhere as select generate_series(1, 10000)")
    expected = (
        "select oid::int8 as spcid, spcname, nullif(pg_tablespace_location(oid), '') as location, "
        "pg_tablespace_size(oid) as size_bytes from pg_tablespace"
    )
    try:
        with watched(own.dsn()) as watching:
            found = agreed(lambda: rows_of(watching.frame(TABLESPACE_SIZE)), lambda: truth(admin, expected))
            assert {row["spcname"]: row["location"] for row in found.values()} == {
                "pg_default": None,
                "pg_global": None,
                "elsewhere": str(directory),
            }
        with watched(own.dsn(user="plain")) as humble:
            contents = humble.collect(TABLESPACE_SIZE)
        sizes = {row["spcname"]: row["size_bytes"] for row in rows_of(contents.frames[0]).values()}
        assert {name for name, size in sizes.items() if size is None} == {"pg_global", "elsewhere"}
        (run,) = contents.runs
        assert (run.status, run.rows, run.rows_available) == (Status.PERMISSION, 1, 3)
    finally:
        admin.execute("drop table placed")
        admin.execute("drop tablespace elsewhere")
        directory.rmdir()


def test_wal_files_are_those_in_the_folder(own: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched) -> None:
    for _ in range(3):
        admin.execute("insert into held select g from generate_series(1, 1000) g")
        admin.execute("select pg_switch_wal()")
    folder = own.data / "pg_wal"

    def in_folder() -> Rows:
        (current,) = admin.execute("select pg_walfile_name(pg_current_wal_insert_lsn())").fetchone() or ("",)
        files = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
        segments = {name: stat for name, stat in files.items() if re.fullmatch("[0-9A-F]{24}", name)}
        ready = [path.stat() for path in (folder / "archive_status").iterdir() if path.suffix == ".ready"]
        return {
            (): {
                "segments": len(segments),
                "recycled_segments": sum(name > current for name in segments),
                "size_bytes": sum(stat.st_size for stat in files.values()),
                "oldest_modified_at": min(int(s.st_mtime) for name, s in segments.items() if name <= current) * 10**6,
                "ready_files": len(ready),
                "oldest_ready_at": min(int(stat.st_mtime) for stat in ready) * 10**6 if ready else None,
            }
        }

    found = agreed(lambda: rows_of(watching.frame(WAL_FILES)), in_folder)[()]
    assert found["ready_files"] >= 3
    assert found["segments"] >= 3
    admin.execute("alter system set archive_command = 'true'")
    admin.execute("select pg_reload_conf()")
    until(lambda: rows_of(watching.frame(WAL_FILES))[()]["ready_files"] == 0)
    admin.execute("checkpoint")  # what is archived and not needed any more is made ready for use
    for path in sorted(folder.glob("0*"))[-1:]:
        os.utime(path, (10**9, 10**9))  # the age of what is ready for use says nothing
    found = agreed(lambda: rows_of(watching.frame(WAL_FILES)), in_folder)[()]
    assert found["recycled_segments"] >= 1
    assert found["segments"] > found["recycled_segments"]
    with watched(own.dsn(user="plain")) as humble:
        run = humble.run(WAL_FILES)
        assert (run.status, run.rows) == (Status.PERMISSION, 0)
        assert "grant pg_monitor" in (run.detail or "")


def test_ages_grow_by_the_transactions_that_were_made(admin: psycopg.Connection, watching: Watched) -> None:
    expected = (
        "select oid::int8 as datid, age(datfrozenxid) as datfrozenxid_age, mxid_age(datminmxid) as datminmxid_age "
        "from pg_database"
    )
    before = agreed(lambda: rows_of(watching.frame(XID_AGE)), lambda: truth(admin, expected))
    for _ in range(7):
        admin.execute("select txid_current()")
    after = rows_of(watching.frame(XID_AGE))
    assert set(after) == set(before)
    grown = {after[datid]["datfrozenxid_age"] - before[datid]["datfrozenxid_age"] for datid in before}
    assert grown == {7}


def test_prepared_transactions_are_there_without_their_names(
    own: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched
) -> None:
    assert watching.run(PREPARED_XACT).status is Status.EMPTY
    with prepared(own, "the-name-of-a-customer") as xid:
        admin.execute("select txid_current()")
        frame = watching.frame(PREPARED_XACT)
        (owner, database, at, age) = admin.execute(
            "select r.oid::int8, d.oid::int8, prepared, age(transaction) from pg_prepared_xacts p "
            "join pg_roles r on r.rolname = p.owner join pg_database d on d.datname = p.database"
        ).fetchone() or (0, 0, None, 0)
        assert rows_of(frame) == {
            xid: {
                "transaction": xid,
                "datid": database,
                "ownerid": owner,
                "prepared_at": value_of(at),
                "transaction_age": age,
            }
        }
        assert age >= 1
        assert "customer" not in frame.model_dump_json()


def holders(watching: Watched) -> Rows:
    return rows_of(watching.frame(XMIN_HOLDER))


def held_by(watching: Watched, *keys: tuple[str, str]) -> Rows:
    """The holders, once they are these: a server needs a moment to notice that a session has ended."""
    found: Rows = {}

    def same() -> bool:
        found.clear()
        found.update(holders(watching))
        return set(found) == set(keys)

    until(same)
    return found


def pid_of(connection: psycopg.Connection) -> str:
    return str(connection.info.backend_pid)


def test_sessions_hold_by_their_snapshot_and_by_their_own_transaction(
    own: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched
) -> None:
    with (
        psycopg.connect(own.dsn(), application_name="reads", autocommit=True) as reads,
        psycopg.connect(own.dsn(), application_name="writes", autocommit=True) as writes,
        psycopg.connect(own.dsn(), application_name="rests", autocommit=True) as rests,
    ):
        reads.execute("begin isolation level repeatable read")
        reads.execute("select count(*) from held")
        writes.execute("begin")
        writes.execute("update held set t = 'x' where id = -1")
        writes.execute("insert into held values (-7)")
        rests.execute("begin")
        for _ in range(5):
            admin.execute("select txid_current()")
        found = held_by(watching, ("session", pid_of(reads)), ("session", pid_of(writes)))
        expected = truth(
            admin,
            "select pid::text, datid::int8, application_name, state, xact_start, age(backend_xid) as xid_age, "
            "age(backend_xmin) as xmin_age from pg_stat_activity where backend_type = 'client backend'",
        )
        for session in (reads, writes):
            row, true = found["session", pid_of(session)], expected[pid_of(session)]
            for name in ("datid", "application_name", "state"):
                assert row[name] == true[name]
            assert row["held_since_at"] == value_of(true["xact_start"])
            assert row["user_name"] == "postgres"
        assert found["session", pid_of(reads)]["xmin_age"] == expected[pid_of(reads)]["xmin_age"]
        # A writer between statements has no snapshot: its own transaction id holds.
        assert expected[pid_of(writes)]["xmin_age"] is None
        assert found["session", pid_of(writes)]["xmin_age"] == expected[pid_of(writes)]["xid_age"] >= 5
        ages = [row["xmin_age"] for row in found.values()]
        assert ages == sorted(ages, reverse=True)
        writes.execute("rollback")
    assert held_by(watching) == {}


def test_a_vacuum_holds_nothing(own: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched) -> None:
    admin.execute("create table swept as select g, repeat('x', 1000) from generate_series(1, 3000) g")
    with psycopg.connect(own.dsn(), autocommit=True) as sweeper:
        sweeper.execute("set vacuum_cost_delay = 100")
        sweeper.execute("set vacuum_cost_limit = 1")

        def sweep() -> None:
            with pytest.raises(psycopg.errors.QueryCanceled):
                sweeper.execute("vacuum swept")

        thread = threading.Thread(target=sweep)
        thread.start()
        try:
            query = "select count(*) from pg_stat_progress_vacuum where pid = %s"
            until(lambda: admin.execute(query, (sweeper.info.backend_pid,)).fetchone() == (1,))
            assert ("session", pid_of(sweeper)) not in holders(watching)
        finally:
            admin.execute("select pg_cancel_backend(%s)", (sweeper.info.backend_pid,))
            thread.join()
    admin.execute("drop table swept")


def test_slots_and_prepared_transactions_hold(
    own: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched
) -> None:
    slot = f"slot_{uuid4().hex[:8]}"
    admin.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    try:
        with prepared(own, "held") as xid:
            admin.execute("select txid_current()")
            # Of the slot there is no row of kind `slot`: it holds the catalogs' rows alone.
            found = held_by(watching, ("slot_catalog", slot), ("prepared", str(xid)))
            catalog = found["slot_catalog", slot]
            (age, datid) = admin.execute(
                "select age(catalog_xmin), datoid::int8 from pg_replication_slots where slot_name = %s", (slot,)
            ).fetchone() or (0, 0)
            assert (catalog["xmin_age"], catalog["datid"], catalog["state"]) == (age, datid, "inactive")
            assert age >= 1
            (age, at) = admin.execute("select age(transaction), prepared from pg_prepared_xacts").fetchone() or (
                0,
                None,
            )
            row = found["prepared", str(xid)]
            assert (row["xmin_age"], row["held_since_at"], row["user_name"]) == (age, value_of(at), "postgres")
    finally:
        admin.execute("select pg_drop_replication_slot(%s)", (slot,))
    assert watching.run(XMIN_HOLDER).status is Status.EMPTY


def test_a_slot_whose_wal_is_lost_holds_nothing(admin: psycopg.Connection, watching: Watched) -> None:
    slot = f"slot_{uuid4().hex[:8]}"
    admin.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    admin.execute("alter system set max_slot_wal_keep_size = '1MB'")
    admin.execute("select pg_reload_conf()")
    try:
        held_by(watching, ("slot_catalog", slot))

        def lost() -> bool:
            admin.execute("insert into held select generate_series(1, 1000)")
            admin.execute("select pg_switch_wal()")
            admin.execute("checkpoint")
            query = "select wal_status, catalog_xmin is not null from pg_replication_slots where slot_name = %s"
            return admin.execute(query, (slot,)).fetchone() == ("lost", True)

        until(lost)
        held_by(watching)
    finally:
        admin.execute("alter system reset max_slot_wal_keep_size")
        admin.execute("select pg_reload_conf()")
        admin.execute("select pg_drop_replication_slot(%s)", (slot,))


def test_of_more_holders_than_the_cap_the_oldest_are_told(
    own: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched
) -> None:
    held_by(watching)
    watching.target.apply(Document(metrics={XMIN_HOLDER.name: MetricSettings(at_most=2)}))
    sessions = [psycopg.connect(own.dsn(), autocommit=True) for _ in range(3)]
    try:
        for session in sessions:
            session.execute("begin isolation level repeatable read")
            session.execute("select txid_current()")
        contents = watching.collect(XMIN_HOLDER)
        oldest = {("session", pid_of(session)) for session in sessions[:2]}
        assert set(rows_of(contents.frames[0])) == oldest
        (run,) = contents.runs
        assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, 2, 3)
    finally:
        for session in sessions:
            session.close()


def test_a_role_without_rights_sees_the_ages_all_the_same(own: EmbeddedPostgres) -> None:
    with (
        psycopg.connect(own.dsn(), autocommit=True) as another,
        watched(own.dsn(user="plain")) as humble,
    ):
        held_by(humble)
        another.execute("begin isolation level repeatable read")
        another.execute("select txid_current()")
        row = holders(humble)["session", pid_of(another)]
        assert row["xmin_age"] == 1
        assert (row["state"], row["held_since_at"]) == (None, None)
