"""Promises of what only a standby shows: conflicts with recovery, prefetching, and how it holds its primary's rows."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from contracts.batch import Status
from contracts.metrics import (
    CHECKPOINTER,
    DATABASE_CONFLICTS,
    RECOVERY_PREFETCH,
    WAL_FILES,
    XID_AGE,
    XMIN_HOLDER,
)
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.standby import caught_up, standby_of
from tests.agent.targets.views import in_view, major, value_of
from tests.agent.targets.watching import Rows, Watched, agreed, rows_of, truth, watched
from tests.servers import NewServer


@pytest.fixture(scope="module")
def primary(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    # Without full page images there is something left to prefetch.
    with new_server({**THROWAWAY, "wal_level": "replica", "autovacuum": "off"}) as server:
        yield server


@pytest.fixture(scope="module")
def standby(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    settings = {
        **THROWAWAY, "hot_standby_feedback": "on", "wal_receiver_status_interval": "1",
        "max_standby_streaming_delay": "0", "shared_buffers": "1MB", "recovery_prefetch": "on",
    }  # fmt: skip
    with psycopg.connect(primary.dsn()) as connection:
        if major(connection) < 15:
            del settings["recovery_prefetch"]
    with standby_of(primary, settings) as server:
        yield server


@pytest.fixture
def writer(primary: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader(standby: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(standby.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def watching(standby: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(standby.dsn()) as one:
        yield one


def whole(watching: Watched) -> Rows:
    watching.changes.forget()
    return rows_of(watching.frame(DATABASE_CONFLICTS))


def test_a_query_that_recovery_cancelled_is_counted(
    standby: EmbeddedPostgres, writer: psycopg.Connection, reader: psycopg.Connection, watching: Watched
) -> None:
    (oid,) = writer.execute("select oid::int8 from pg_database where datname = current_database()").fetchone() or (0,)
    before = agreed(lambda: whole(watching), lambda: in_view(DATABASE_CONFLICTS, reader))
    writer.execute("create table contended (a int)")
    caught_up(writer, reader)
    with psycopg.connect(standby.dsn(), autocommit=True) as victim:
        victim.execute("begin")
        victim.execute("select * from contended")
        writer.execute("drop table contended")  # the standby cannot replay this while the victim has its lock
        caught_up(writer, reader)
        with pytest.raises(psycopg.OperationalError):
            victim.execute("select 1")

    def counted() -> bool:
        return bool(whole(watching)[oid]["confl_lock"] == before[oid]["confl_lock"] + 1)

    until(counted)
    after = agreed(lambda: whole(watching), lambda: in_view(DATABASE_CONFLICTS, reader))
    others = {name: value for name, value in after[oid].items() if name.startswith("confl_") and name != "confl_lock"}
    assert others == {name: before[oid][name] for name in others}


def test_prefetching_is_the_views_and_begins_anew_with_a_reset_and_with_a_restart(
    standby: EmbeddedPostgres, writer: psycopg.Connection, reader: psycopg.Connection, watching: Watched
) -> None:
    if major(reader) < 15:
        run = watching.run(RECOVERY_PREFETCH)
        assert (run.status, run.detail) == (Status.UNSUPPORTED, "recovery_prefetch came with version 15")
        return
    writer.execute("create table fetched (id int primary key, t text)")
    writer.execute("insert into fetched select g, repeat('x', 500) from generate_series(1, 20000) g")
    writer.execute("update fetched set t = repeat('y', 500) where id % 7 = 0")
    caught_up(writer, reader)

    def read() -> Rows:
        return rows_of(watching.frame(RECOVERY_PREFETCH))

    first = agreed(read, lambda: in_view(RECOVERY_PREFETCH, reader))[()]
    assert sum(first[name] for name in RECOVERY_PREFETCH.counters) > 100
    writer.execute("update fetched set t = repeat('z', 500) where id % 7 = 1")
    caught_up(writer, reader)
    later = agreed(read, lambda: in_view(RECOVERY_PREFETCH, reader))[()]
    assert later["stats_reset_at"] == first["stats_reset_at"]
    assert all(later[name] >= first[name] for name in RECOVERY_PREFETCH.counters)
    assert sum(later[name] for name in RECOVERY_PREFETCH.counters) > sum(
        first[name] for name in RECOVERY_PREFETCH.counters
    )
    reader.execute("select pg_stat_reset_shared('recovery_prefetch')")
    reset = read()[()]
    assert reset["stats_reset_at"] > later["stats_reset_at"]
    assert sum(reset[name] for name in RECOVERY_PREFETCH.counters) < 100
    standby.restart()
    watching.target.close()
    assert read()[()]["stats_reset_at"] > reset["stats_reset_at"]


def test_a_standby_without_a_slot_holds_its_primarys_rows(
    primary: EmbeddedPostgres, standby: EmbeddedPostgres, writer: psycopg.Connection
) -> None:
    with psycopg.connect(standby.dsn(), autocommit=True) as long, watched(primary.dsn()) as watching:
        long.execute("begin isolation level repeatable read")
        long.execute("select 1")
        found: Rows = {}

        def held() -> bool:
            found.clear()
            found.update(rows_of(watching.frame(XMIN_HOLDER)))
            return any(kind == "standby" for kind, _ in found)

        until(held)
        writer.execute("select txid_current()")
        expected = truth(
            writer, "select pid::text, usename, application_name, state, backend_start from pg_stat_replication"
        )
        held()
        assert set(found) == {("standby", pid) for pid in expected}
        ((_, pid),) = found
        row, true = found["standby", pid], expected[pid]
        assert row["xmin_age"] >= 1
        assert row["held_since_at"] == value_of(true["backend_start"])
        assert (row["user_name"], row["application_name"]) == (true["usename"], true["application_name"])
        assert (row["state"], row["datid"]) == ("streaming", None)


def test_a_standby_with_a_slot_holds_by_its_slot(primary: EmbeddedPostgres, writer: psycopg.Connection) -> None:
    writer.execute("select pg_create_physical_replication_slot('of_a_standby')")
    settings = {**THROWAWAY, "hot_standby_feedback": "on", "wal_receiver_status_interval": "1"}
    with (
        watched(primary.dsn()) as watching,
        standby_of(primary, {**settings, "primary_slot_name": "of_a_standby"}) as second,
    ):
        until(lambda: ("slot", "of_a_standby") in rows_of(watching.frame(XMIN_HOLDER)))
        assert rows_of(watching.frame(XMIN_HOLDER))["slot", "of_a_standby"]["state"] == "active"
        second.stop()
        until(lambda: rows_of(watching.frame(XMIN_HOLDER))["slot", "of_a_standby"]["state"] == "inactive")
        writer.execute("select txid_current()")
        row = rows_of(watching.frame(XMIN_HOLDER))["slot", "of_a_standby"]
        assert row["xmin_age"] >= 1
        assert (row["held_since_at"] is not None) == (major(writer) >= 17)
    until(lambda: writer.execute("select active from pg_replication_slots").fetchone() == (False,))
    writer.execute("select pg_drop_replication_slot('of_a_standby')")


def test_a_standby_tells_what_does_not_need_a_primary(
    standby: EmbeddedPostgres, reader: psycopg.Connection, watching: Watched
) -> None:
    files = rows_of(watching.frame(WAL_FILES))[()]
    assert files["segments"] >= 1
    assert files["recycled_segments"] is None
    assert files["oldest_modified_at"] is not None
    assert len(rows_of(watching.frame(XID_AGE))) >= 3
    reader.execute("checkpoint")  # of a standby that is a restartpoint
    found = agreed(lambda: rows_of(watching.frame(CHECKPOINTER)), lambda: in_view(CHECKPOINTER, reader))[()]
    name = "restartpoints_req" if major(reader) >= 17 else "num_requested"
    assert found[name] >= 1
