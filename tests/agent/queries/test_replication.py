"""Promises of `replication`, `wal_receiver` and `replication_slot`: what a real standby lags, at both of its ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from contracts.batch import Status
from contracts.metrics import REPLICATION, REPLICATION_SLOT, WAL_RECEIVER, Metric
from infra.standalone.embedded import EmbeddedPostgres, free_port, new_directory
from tests.agent.polling import until
from tests.agent.queries.acting import Row, clock, pid, read, role, session, value
from tests.agent.targets.watching import Watched, watched
from tests.servers import NewServer

SETTINGS = {
    "fsync": "off",
    "wal_level": "logical",
    "hot_standby_feedback": "on",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "logical_decoding_work_mem": "64kB",
    "autovacuum": "off",
}
SECRET = "the-password-of-replication"

RECEIVED = "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint"
WRITTEN = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"

#: What the view says of the one sender that streams, in the metric's columns.
SENDER = """
    select pid, usename::text, application_name, sync_state, sync_priority,
        pg_wal_lsn_diff(replay_lsn, '0/0')::bigint as replayed,
        (extract(epoch from write_lag) * 1000000)::bigint as write_lag_us,
        (extract(epoch from flush_lag) * 1000000)::bigint as flush_lag_us,
        (extract(epoch from replay_lag) * 1000000)::bigint as replay_lag_us,
        (extract(epoch from backend_start) * 1000000)::bigint as backend_start_at,
        (extract(epoch from reply_time) * 1000000)::bigint as reply_at
    from pg_stat_replication
"""

SLOT = """
    select slot_name::text, slot_type, plugin::text, datoid::int8 as datid, temporary, active, active_pid,
        wal_status, safe_wal_size as safe_wal_bytes,
        age(xmin) as xmin_age, age(catalog_xmin) as catalog_xmin_age,
        pg_wal_lsn_diff(restart_lsn, '0/0')::bigint as restart_lsn,
        pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::bigint as confirmed_flush_lsn, two_phase
    from pg_replication_slots
    where slot_name = '{}'
"""

DECODED = """
    select spill_txns, spill_count, spill_bytes, stream_txns, stream_count, stream_bytes, total_txns, total_bytes,
        (extract(epoch from stats_reset) * 1000000)::bigint as stats_reset_at
    from pg_stat_replication_slots
    where slot_name = '{}'
"""


@contextmanager
def standby_of(source: EmbeddedPostgres, name: str) -> Iterator[EmbeddedPostgres]:
    """A running standby that streams over a slot of its name."""
    standby = EmbeddedPostgres(new_directory("pganalytics-pg-"), free_port(), SETTINGS, source.programs)
    dsn = f"{source.dsn()} application_name={name} password={SECRET}"
    try:
        source.run(
            "pg_basebackup", "-d", dsn, "-D", str(standby.data), "-R", "-C", "-S", name, "-c", "fast", "--no-sync"
        )
        # What pg_basebackup writes names options that a receiver with another libpq does not know. The last line wins.
        with (standby.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{dsn}'\n")
        standby.start()
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(standby.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """The primary."""
    with new_server(SETTINGS) as running, session(running.dsn()) as admin:
        admin.execute("create table written (a int, t text)")
        yield running


@pytest.fixture(scope="module")
def standby(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    with standby_of(server, "near") as running:
        yield running


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with session(server.dsn()) as connection:
        yield connection


@pytest.fixture
def there(standby: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A session on the standby."""
    with session(standby.dsn()) as connection:
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(server.dsn()) as one:
        yield one


@pytest.fixture
def watching_standby(standby: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(standby.dsn()) as one:
        yield one


def write(admin: psycopg.Connection, rows: int = 1000) -> None:
    admin.execute("insert into written select g, repeat('x', 100) from generate_series(1, %s) g", (rows,))


def says(connection: psycopg.Connection, query: str) -> Row:
    """The one row that a view has."""
    cursor = connection.execute(query.encode())
    (row,) = cursor.fetchall()
    return dict(zip((column.name for column in cursor.description or ()), row, strict=True))


def of(watching: Watched, metric: Metric, **wanted: object) -> Row:
    """The one row that has these values, once it has."""
    found: list[Row] = []

    def has() -> bool:
        found[:] = [row for row in read(watching, metric) if all(row[name] == wanted[name] for name in wanted)]
        return len(found) == 1

    until(has)
    return found[0]


def test_a_standby_that_keeps_up_lags_nothing(
    admin: psycopg.Connection, standby: EmbeddedPostgres, watching: Watched
) -> None:
    of(watching, REPLICATION, state="streaming", replay_lag_bytes=0)
    agreed: list[tuple[Row, Row, Row]] = []

    def same() -> bool:
        before, row, after = says(admin, SENDER), of(watching, REPLICATION), says(admin, SENDER)
        agreed.append((before, row, after))
        # The lags in time are there for a second after something was written.
        if before["replay_lag_us"] is None:
            write(admin, 1)
        return before == after and before["replay_lag_us"] is not None and row["replay_lag_bytes"] == 0

    until(same)
    truth, row, _ = agreed[-1]
    replayed = truth.pop("replayed")
    assert {name: row[name] for name in truth} == truth
    assert row["current_lsn"] == replayed
    assert (row["application_name"], row["client_addr"], row["sync_state"]) == ("near", None, "async")
    assert [row[f"{what}_lag_bytes"] for what in ("sent", "write", "flush", "replay")] == [0, 0, 0, 0]


def test_a_standby_that_does_not_replay_lags_at_both_ends(
    admin: psycopg.Connection, there: psycopg.Connection, watching: Watched, watching_standby: Watched
) -> None:
    write(admin, 1)
    of(watching, REPLICATION, state="streaming", replay_lag_bytes=0)
    there.execute("select pg_wal_replay_pause()")
    until(lambda: value(there, "select pg_get_wal_replay_pause_state()") == "paused")
    try:
        replayed = value(there, "select pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint")
        write(admin)
        written = value(admin, WRITTEN)
        sent = of(watching, REPLICATION, flush_lag_bytes=0)
        until(lambda: value(there, RECEIVED) == written)
        committed = "select (extract(epoch from pg_last_xact_replay_timestamp()) * 1000000)::bigint"
        last_commit = value(there, committed)
        before = clock(there)
        received = of(watching_standby, WAL_RECEIVER, received_lsn=written)
        after = clock(there)
    finally:
        there.execute("select pg_wal_replay_resume()")
    assert sent["current_lsn"] == written
    assert sent["replay_lag_bytes"] == written - replayed > 100_000
    assert (received["replay_lsn"], received["replay_lag_bytes"]) == (replayed, written - replayed)
    assert received["replay_pause_state"] == "paused"
    assert received["last_xact_replay_at"] == last_commit
    assert 0 < before - last_commit <= received["replay_lag_us"] <= after - last_commit
    row = of(watching_standby, WAL_RECEIVER, replay_lag_bytes=0, replay_lag_us=0)
    assert row["replay_pause_state"] == "not paused"
    of(watching, REPLICATION, replay_lag_bytes=0)


def test_a_receiver_tells_where_it_receives_from(
    server: EmbeddedPostgres, there: psycopg.Connection, watching_standby: Watched
) -> None:
    row = of(watching_standby, WAL_RECEIVER, status="streaming")
    assert (row["sender_host"], row["sender_port"], row["slot_name"]) == (str(server.directory), server.port, "near")
    assert (row["pid"], row["received_tli"]) == (value(there, "select pid from pg_stat_wal_receiver"), 1)
    assert row["written_lsn"] >= row["replay_lsn"] > 0
    assert row["last_msg_send_at"] <= row["last_msg_receipt_at"]
    assert value(there, "select conninfo from pg_stat_wal_receiver").count("password")
    assert SECRET not in repr(row)


def test_a_primary_receives_nothing(watching: Watched) -> None:
    assert read(watching, WAL_RECEIVER) == []
    assert watching.run(WAL_RECEIVER).status is Status.EMPTY


def test_a_standby_whose_receiver_has_ended_knows_no_lag(
    there: psycopg.Connection, watching: Watched, watching_standby: Watched
) -> None:
    of(watching_standby, WAL_RECEIVER, status="streaming")
    source = value(there, "show primary_conninfo")
    there.execute("alter system set primary_conninfo = ''")
    there.execute("select pg_reload_conf()")
    try:
        row = of(watching_standby, WAL_RECEIVER, status="stopped", pid=None)
    finally:
        there.execute(f"alter system set primary_conninfo = {psycopg.sql.quote(source)}".encode())
        there.execute("select pg_reload_conf()")
    assert row["received_lsn"] >= row["replay_lsn"] > 0
    assert row["replay_lag_us"] is row["sender_host"] is row["latest_end_lsn"] is None
    of(watching, REPLICATION, state="streaming")


def test_a_stopped_standby_makes_its_slot_keep_wal(
    admin: psycopg.Connection, standby: EmbeddedPostgres, watching: Watched
) -> None:
    of(watching, REPLICATION, state="streaming", replay_lag_bytes=0)
    active = of(watching, REPLICATION_SLOT, slot_name="near", active=True)
    assert active["active_pid"] == value(admin, "select pid from pg_stat_replication")
    standby.stop()
    try:
        stopped = of(watching, REPLICATION_SLOT, active=False)
        assert read(watching, REPLICATION) == []
        assert watching.run(REPLICATION).status is Status.EMPTY
        start = value(admin, WRITTEN)
        for _ in range(3):
            write(admin)
        end = value(admin, WRITTEN)
        row = of(watching, REPLICATION_SLOT, active=False)
        truth = says(admin, SLOT.format("near"))
    finally:
        standby.start()
    assert end - start > 300_000
    assert row["restart_lsn"] == stopped["restart_lsn"]
    assert row["retained_wal_bytes"] == end - row["restart_lsn"] >= end - start
    assert {name: row[name] for name in truth} == truth
    assert (row["slot_type"], row["plugin"], row["datid"], row["confirmed_lag_bytes"]) == ("physical", *(None,) * 3)
    assert row["xmin_age"] >= 3  # kept by hot_standby_feedback: the transactions since then
    assert row["total_txns"] is row["stats_reset_at"] is None
    if admin.info.server_version >= 170_000:
        assert clock(admin) > row["inactive_since_at"] > 0
        assert (row["failover"], row["synced"], row["invalidation_reason"]) == (False, False, None)
    else:
        assert row["inactive_since_at"] is row["failover"] is row["synced"] is None
    of(watching, REPLICATION, state="streaming", replay_lag_bytes=0)


def test_a_cascading_standby_lags_behind_what_was_received(
    admin: psycopg.Connection, standby: EmbeddedPostgres, there: psycopg.Connection, watching_standby: Watched
) -> None:
    with standby_of(standby, "far") as cascaded, session(cascaded.dsn()) as far:
        of(watching_standby, REPLICATION, state="streaming", replay_lag_bytes=0)
        far.execute("select pg_wal_replay_pause()")
        until(lambda: value(far, "select pg_get_wal_replay_pause_state()") == "paused")
        replayed = value(far, "select pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint")
        write(admin)
        written = value(admin, WRITTEN)
        row = of(watching_standby, REPLICATION, current_lsn=written, flush_lag_bytes=0)
        assert row["replay_lag_bytes"] == written - replayed
        assert row["application_name"] == "far"
        slot = of(watching_standby, REPLICATION_SLOT, slot_name="far", retained_wal_bytes=0)
        assert slot["restart_lsn"] == written
        far.execute("select pg_wal_replay_resume()")
    until(lambda: not value(there, "select active from pg_replication_slots"))
    there.execute("select pg_drop_replication_slot('far')")


def test_a_role_without_rights_is_told_that_it_sees_no_lag(
    server: EmbeddedPostgres, standby: EmbeddedPostgres, there: psycopg.Connection, watching: Watched
) -> None:
    of(watching, REPLICATION, state="streaming")
    with role(server) as humble:
        until(lambda: value(there, "select count(*) from pg_roles where rolname = %s", humble))
        for each, metric in ((server, REPLICATION), (standby, WAL_RECEIVER)):
            with watched(each.dsn(user=humble)) as plain:
                (row,) = read(plain, metric)
                run = plain.run(metric)
                assert row["pid"] > 0
                assert run.status is Status.PERMISSION
                assert "grant pg_monitor" in (run.detail or "")
    with role(server, "pg_monitor") as monitor:
        until(lambda: value(there, "select count(*) from pg_roles where rolname = %s", monitor))
        for each, metric in ((server, REPLICATION), (standby, WAL_RECEIVER)):
            with watched(each.dsn(user=monitor)) as able:
                assert able.run(metric).status is Status.OK


def test_what_was_decoded_for_a_logical_slot_is_counted(
    server: EmbeddedPostgres, admin: psycopg.Connection, watching: Watched
) -> None:
    admin.execute("create publication everything for all tables")
    admin.execute("select pg_create_logical_replication_slot('decoded', 'pgoutput')")
    try:
        write(admin, 2000)  # more than logical_decoding_work_mem
        write(admin, 1)
        lagging = of(watching, REPLICATION_SLOT, slot_name="decoded")
        assert lagging["confirmed_lag_bytes"] == value(admin, WRITTEN) - lagging["confirmed_flush_lsn"] > 200_000
        admin.execute(
            "select count(*) from pg_logical_slot_get_binary_changes("
            "'decoded', null, null, 'proto_version', '1', 'publication_names', 'everything')"
        )
        row = of(watching, REPLICATION_SLOT, slot_name="decoded", total_txns=2)
        expected = says(admin, SLOT.format("decoded")) | says(admin, DECODED.format("decoded"))
        assert {name: row[name] for name in expected} == expected
        assert (row["slot_type"], row["plugin"], row["temporary"]) == ("logical", "pgoutput", False)
        assert row["datid"] == value(admin, "select oid from pg_database where datname = current_database()")
        assert (row["spill_txns"], row["stream_txns"]) == (1, 0)
        assert row["total_bytes"] > row["spill_bytes"] > 200_000
        assert row["confirmed_lag_bytes"] < lagging["confirmed_lag_bytes"]
        assert row["conflicting"] is (False if admin.info.server_version >= 160_000 else None)

        admin.execute("select pg_stat_reset_replication_slot('decoded')")
        row = of(watching, REPLICATION_SLOT, slot_name="decoded", total_txns=0)
        assert row["stats_reset_at"] == says(admin, DECODED.format("decoded"))["stats_reset_at"] is not None
    finally:
        admin.execute("select pg_drop_replication_slot('decoded')")
        admin.execute("drop publication everything")


def test_a_slot_that_is_in_use_tells_by_whom(server: EmbeddedPostgres, watching: Watched) -> None:
    with psycopg.connect(server.dsn(), autocommit=True, replication="database") as receiver:
        receiver.pgconn.exec_(b"CREATE_REPLICATION_SLOT passing TEMPORARY LOGICAL pgoutput")
        row = of(watching, REPLICATION_SLOT, slot_name="passing")
        assert (row["temporary"], row["active"], row["active_pid"]) == (True, True, pid(receiver))
