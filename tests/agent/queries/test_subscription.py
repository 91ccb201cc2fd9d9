"""Promises of `subscription`: its worker and positions, how many others there are, and every failure counted."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from contracts.batch import Status
from contracts.metrics import SUBSCRIPTION
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.queries.acting import Row, read, role, session, value
from tests.agent.targets.watching import Watched, watched
from tests.servers import NewServer

SETTINGS = {
    "fsync": "off",
    "wal_level": "logical",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "logical_decoding_work_mem": "64kB",
    "max_logical_replication_workers": "8",
    "max_worker_processes": "16",
    "autovacuum": "off",
}
SECRET = "the-password-of-replication"

WORKER = """
    select pid, pg_wal_lsn_diff(received_lsn, '0/0')::bigint as received_lsn,
        pg_wal_lsn_diff(latest_end_lsn, '0/0')::bigint as latest_end_lsn,
        (extract(epoch from latest_end_time) * 1000000)::bigint as latest_end_at,
        (extract(epoch from last_msg_send_time) * 1000000)::bigint as last_msg_send_at,
        (extract(epoch from last_msg_receipt_time) * 1000000)::bigint as last_msg_receipt_at
    from pg_stat_subscription
    where subname = 'sub' and relid is null
"""


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server with a database that publishes and one that subscribes."""
    with new_server(SETTINGS) as running:
        with session(running.dsn()) as admin:
            admin.execute("create database publisher")
            admin.execute("create database subscriber")
        yield running


@pytest.fixture
def publisher(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn("publisher")) as connection:
        connection.execute("create table item (id int primary key, t text)")
        connection.execute("create publication pub for table item")
        connection.execute("select pg_create_logical_replication_slot('sub', 'pgoutput')")
        yield connection
        connection.execute("drop publication pub")
        connection.execute("drop table item")
        slot = "select count(*) from pg_replication_slots where active"
        until(lambda: value(connection, slot) == 0)
        connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots")


@pytest.fixture
def subscriber(server: EmbeddedPostgres, publisher: psycopg.Connection) -> Iterator[psycopg.Connection]:
    with session(server.dsn("subscriber")) as connection:
        connection.execute("create table item (id int primary key, t text)")
        yield connection
        connection.execute("alter subscription sub disable")
        connection.execute("alter subscription sub set (slot_name = none)")
        connection.execute("drop subscription sub")
        connection.execute("drop table item")


@pytest.fixture
def watching(server: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(server.dsn()) as one:
        yield one


def subscribe(server: EmbeddedPostgres, subscriber: psycopg.Connection, options: str = "") -> None:
    """In one server the slot has to be there before: making it would wait for the transaction that subscribes."""
    dsn = f"{server.dsn('publisher')} password={SECRET}"
    statement = sql.SQL("create subscription sub connection {} publication pub with (create_slot = false{})")
    subscriber.execute(statement.format(sql.Literal(dsn), sql.SQL(options)))


def one(watching: Watched, **wanted: object) -> Row:
    """The one row, once it has these values."""
    rows: list[Row] = []

    def has() -> bool:
        rows[:] = read(watching, SUBSCRIPTION)
        return len(rows) == 1 and all(rows[0][name] == wanted[name] for name in wanted)

    until(has)
    return rows[0]


def says(connection: psycopg.Connection, query: str) -> Row:
    cursor = connection.execute(query.encode())
    (row,) = cursor.fetchall()
    return dict(zip((column.name for column in cursor.description or ()), row, strict=True))


def test_without_subscriptions_the_run_is_empty(watching: Watched) -> None:
    assert read(watching, SUBSCRIPTION) == []
    assert watching.run(SUBSCRIPTION).status is Status.EMPTY


def test_a_subscription_that_keeps_up_tells_its_worker_and_its_positions(
    server: EmbeddedPostgres, publisher: psycopg.Connection, subscriber: psycopg.Connection, watching: Watched
) -> None:
    subscribe(server, subscriber)
    publisher.execute("insert into item select g from generate_series(1, 100) g")
    until(lambda: value(subscriber, "select count(*) from item") == 100)
    written = value(publisher, "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
    agreed: list[tuple[Row, Row, Row]] = []

    def same() -> bool:
        agreed.append((says(subscriber, WORKER), one(watching, sync_workers=0), says(subscriber, WORKER)))
        return agreed[-1][0] == agreed[-1][2] and (agreed[-1][0]["received_lsn"] or 0) >= written

    until(same)
    truth, row, _ = agreed[-1]
    assert {name: row[name] for name in truth} == truth
    assert (row["subname"], row["enabled"]) == ("sub", True)
    assert row["subid"] == value(subscriber, "select oid from pg_subscription")
    assert row["datid"] == value(subscriber, "select oid from pg_database where datname = current_database()")
    assert row["parallel_workers"] == (0 if subscriber.info.server_version >= 160_000 else None)
    # Who may monitor may read all of that, but what the connection's settings are.
    with role(server, "pg_monitor") as monitor, watched(server.dsn(user=monitor)) as able:
        assert one(able, sync_workers=0)["pid"] == row["pid"]
        assert SECRET not in repr(able.frame(SUBSCRIPTION))


def test_a_table_that_is_copied_has_a_worker_of_its_own(
    server: EmbeddedPostgres, publisher: psycopg.Connection, subscriber: psycopg.Connection, watching: Watched
) -> None:
    publisher.execute("insert into item select g from generate_series(1, 100) g")
    # The rows come by the copy alone: the worker that applies would wait for the table as well.
    publisher.execute("select pg_replication_slot_advance('sub', pg_current_wal_lsn())")
    with session(server.dsn("subscriber")) as holder:
        holder.execute("begin; lock table item in share mode")
        subscribe(server, subscriber)
        row = one(watching, sync_workers=1)
        assert row["pid"] == value(subscriber, "select pid from pg_stat_subscription where relid is null") > 0
        holder.execute("rollback")
    one(watching, sync_workers=0)
    until(lambda: value(subscriber, "select count(*) from item") == 100)


def test_a_transaction_that_is_applied_while_it_runs_has_a_worker_of_its_own(
    server: EmbeddedPostgres, publisher: psycopg.Connection, subscriber: psycopg.Connection, watching: Watched
) -> None:
    parallel = subscriber.info.server_version >= 160_000
    subscribe(server, subscriber, ", copy_data = false" + (", streaming = parallel" if parallel else ""))
    publisher.execute("begin")
    publisher.execute("insert into item select g, repeat('x', 100) from generate_series(1, 5000) g")
    row = one(watching, parallel_workers=1 if parallel else None)
    assert row["sync_workers"] == 0
    publisher.execute("commit")
    until(lambda: value(subscriber, "select count(*) from item") == 5000)


def test_every_failure_is_counted_until_the_counters_are_reset(
    server: EmbeddedPostgres, publisher: psycopg.Connection, subscriber: psycopg.Connection, watching: Watched
) -> None:
    version = subscriber.info.server_version // 10_000
    subscriber.execute("insert into item values (1), (2)")
    publisher.execute("insert into item values (1)")
    subscribe(server, subscriber)
    errors = "select apply_error_count + sync_error_count from pg_stat_subscription_stats"
    if version < 15:
        row = one(watching)
        assert row["apply_error_count"] is row["sync_error_count"] is row["stats_reset_at"] is None
        return
    until(lambda: value(subscriber, errors) > 0)  # the copy of the table fails
    subscriber.execute("delete from item where id = 1")
    until(lambda: value(subscriber, "select count(*) from item where id = 1") == 1)
    until(lambda: not one(watching)["sync_workers"])
    before = says(subscriber, "select * from pg_stat_subscription_stats")
    publisher.execute("insert into item values (2)")
    until(lambda: one(watching)["apply_error_count"] > before["apply_error_count"])
    subscriber.execute("alter subscription sub disable")
    row = one(watching, enabled=False, pid=None)
    truth = says(subscriber, "select * from pg_stat_subscription_stats")
    counted = {name: truth[name] for name in truth if name.endswith("_count") or name.startswith("confl_")}
    assert {name: row[name] for name in counted} == counted
    assert row["sync_error_count"] > 0 < row["apply_error_count"]
    if version >= 18:
        assert row["confl_insert_exists"] > 0
        assert row["confl_update_missing"] == row["confl_delete_missing"] == 0
    else:
        assert row["confl_insert_exists"] is None
    subscriber.execute("select pg_stat_reset_subscription_stats(oid) from pg_subscription")
    row = one(watching, apply_error_count=0, sync_error_count=0)
    reset = "select (extract(epoch from stats_reset) * 1000000)::bigint from pg_stat_subscription_stats"
    assert row["stats_reset_at"] == value(subscriber, reset) is not None
