"""Promises of what a server's parts count: the views' numbers, which never fall unless the row says it began anew."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from contracts.batch import Status
from contracts.metrics import (
    ARCHIVER,
    BGWRITER,
    CHECKPOINTER,
    DATABASE_CONFLICTS,
    IO,
    RECOVERY_PREFETCH,
    SLRU,
    WAL,
    Metric,
)
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.views import in_view, major, names_in_view, rows_in_view
from tests.agent.targets.watching import Rows, Watched, agreed, rows_of, watched
from tests.servers import NewServer

#: Metrics of which every server has rows, and the version that they came with.
SINCE: dict[Metric, int] = {
    DATABASE_CONFLICTS: 14, BGWRITER: 14, CHECKPOINTER: 14, WAL: 14, ARCHIVER: 14, SLRU: 14, IO: 16,
}  # fmt: skip

#: What a load moves for sure, in whatever row.
MOVED: dict[Metric, tuple[str, ...]] = {
    BGWRITER: ("buffers_alloc",),
    CHECKPOINTER: ("num_requested", "buffers_written"),
    WAL: ("wal_records", "wal_fpi", "wal_bytes"),
    ARCHIVER: ("failed_count",),
    SLRU: ("blks_hit",),
    IO: ("writes", "write_bytes", "extends", "extend_bytes", "hits"),
}

LOAD = (
    "create table loaded (id int primary key, t text)",
    "insert into loaded select g, repeat('x', 500) from generate_series(1, 3000) g",
    "update loaded set t = repeat('y', 500)",
    "create temp table of_the_session as select * from loaded",
    "do $$ begin for i in 1..100 loop begin update loaded set t = 'z' where id = i; exception when others then null; "
    "end; end loop; end $$",
    "checkpoint",
    "select pg_switch_wal()",
    "drop table loaded",
    "checkpoint",
)


@pytest.fixture(scope="module")
def own(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server whose shared statistics are this module's to reset, and whose archiver fails."""
    settings = {**THROWAWAY, "track_io_timing": "on", "track_wal_io_timing": "on", "shared_buffers": "2MB"}
    with new_server({**settings, "archive_mode": "on", "archive_command": "false"}) as server:
        yield server


@pytest.fixture
def reader(own: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def watching(own: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(own.dsn()) as one:
        yield one


def known_to(reader: psycopg.Connection) -> list[Metric]:
    return [metric for metric, since in SINCE.items() if since <= major(reader)]


def load(own: EmbeddedPostgres) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as session:
        for statement in LOAD:
            session.execute(statement.encode())


def whole(watching: Watched, metric: Metric) -> tuple[int, Rows]:
    """The epoch and all rows, as a full frame has them."""
    watching.changes.forget()
    frame = watching.frame(metric)
    assert frame.epoch is not None
    return frame.epoch, rows_of(frame)


@pytest.mark.parametrize("metric", SINCE, ids=lambda metric: metric.name)
def test_every_number_is_the_views(
    own: EmbeddedPostgres, reader: psycopg.Connection, watching: Watched, metric: Metric
) -> None:
    if metric not in known_to(reader):
        run = watching.run(metric)
        assert (run.status, run.detail) == (Status.UNSUPPORTED, f"{metric.name} came with version {SINCE[metric]}")
        return
    load(own)
    assert agreed(lambda: whole(watching, metric)[1], lambda: in_view(metric, reader))


@pytest.mark.parametrize("metric", [*SINCE, RECOVERY_PREFETCH], ids=lambda metric: metric.name)
def test_no_column_of_a_view_is_left_out(reader: psycopg.Connection, metric: Metric) -> None:
    if metric not in [*known_to(reader), RECOVERY_PREFETCH] or (metric is RECOVERY_PREFETCH and major(reader) < 15):
        pytest.skip(f"PostgreSQL {major(reader)} has no such view")
    columns = set(rows_in_view(metric, reader)[0])
    used = set(names_in_view(metric, major(reader)).values())
    elsewhere = {"datname", "op_bytes"}
    if major(reader) < 17:  # one view has what two metrics tell
        elsewhere |= {
            *names_in_view(CHECKPOINTER, major(reader)).values(),
            *names_in_view(BGWRITER, major(reader)).values(),
        }
    assert columns <= used | elsewhere


def test_no_counter_falls_under_load_and_what_is_counted_grows(
    own: EmbeddedPostgres, reader: psycopg.Connection, watching: Watched
) -> None:
    metrics = known_to(reader)
    first = {metric: whole(watching, metric) for metric in metrics}
    before = first
    for _ in range(3):
        load(own)
        after = {metric: whole(watching, metric) for metric in metrics}
        for metric in metrics:
            assert after[metric][0] == before[metric][0]
            assert not fallen(metric, before[metric], after[metric])
        before = after

    def grown() -> bool:
        return all(
            sum_of(whole(watching, metric)[1], name) > sum_of(first[metric][1], name)
            for metric in metrics
            for name in MOVED.get(metric, ())
        )

    until(grown)


def sum_of(rows: Rows, name: str) -> int:
    return sum(row[name] or 0 for row in rows.values())


def counted(rows: Rows, metric: Metric) -> bool:
    return any(sum_of(rows, name) for name in metric.counters)


def fallen(metric: Metric, before: tuple[int, Rows], after: tuple[int, Rows]) -> list[object]:
    """Keys of which a counter fell though neither the epoch nor the row says that it began anew."""
    if before[0] != after[0]:
        return []
    return [
        (key, name)
        for key, row in after[1].items()
        if key in before[1] and all(before[1][key][name] == row[name] for name in metric.resets)
        for name in metric.counters
        if None not in {before[1][key][name], row[name]} and row[name] < before[1][key][name]
    ]


def resets(version: int) -> dict[str, tuple[str, tuple[Metric, ...]]]:
    """What can be reset alone in this version, how, and what begins anew with it."""
    checkpoints: tuple[Metric, ...] = (BGWRITER,) if version >= 17 else (BGWRITER, CHECKPOINTER)
    found: dict[str, tuple[str, tuple[Metric, ...]]] = {
        "archiver": ("select pg_stat_reset_shared('archiver')", (ARCHIVER,)),
        "bgwriter": ("select pg_stat_reset_shared('bgwriter')", checkpoints),
        "wal": ("select pg_stat_reset_shared('wal')", (WAL,)),
        "every slru": ("select pg_stat_reset_slru(null)", (SLRU,)),
    }
    if version >= 16:
        found["io"] = ("select pg_stat_reset_shared('io')", (IO,))
    if version >= 17:
        found["checkpointer"] = ("select pg_stat_reset_shared('checkpointer')", (CHECKPOINTER,))
        found["slru"] = ("select pg_stat_reset_shared('slru')", (SLRU,))
        found["everything"] = ("select pg_stat_reset_shared(null)", (ARCHIVER, BGWRITER, CHECKPOINTER, WAL, SLRU, IO))
    return found


def test_a_reset_of_one_view_is_told_by_the_rows_that_began_anew(
    own: EmbeddedPostgres, reader: psycopg.Connection, watching: Watched
) -> None:
    metrics = known_to(reader)
    for statement, anew in resets(major(reader)).values():
        load(own)
        until(lambda anew=anew: all(counted(whole(watching, metric)[1], metric) for metric in anew))  # type: ignore[misc]
        before = {metric: whole(watching, metric) for metric in metrics}
        reader.execute(statement.encode())

        def told(
            before: dict[Metric, tuple[int, Rows]] = before, anew: tuple[Metric, ...] = anew, statement: str = statement
        ) -> bool:
            after = {metric: whole(watching, metric) for metric in metrics}
            for metric in metrics:
                assert not fallen(metric, before[metric], after[metric]), statement
            return all(
                row["stats_reset_at"] != before[metric][1][key]["stats_reset_at"]
                for metric in anew
                for key, row in after[metric][1].items()
            )

        until(told)


def test_a_reset_of_one_slru_begins_that_row_alone(
    own: EmbeddedPostgres, reader: psycopg.Connection, watching: Watched
) -> None:
    _, before = whole(watching, SLRU)
    one = min(before)
    reader.execute("select pg_stat_reset_slru(%s)", (one,))

    def moved() -> set[str]:
        _, after = whole(watching, SLRU)
        return {name for name, row in after.items() if row["stats_reset_at"] != before[name]["stats_reset_at"]}

    until(lambda: moved() == {one})


def test_a_reset_of_a_databases_statistics_begins_its_conflicts_anew(
    own: EmbeddedPostgres, reader: psycopg.Connection, watching: Watched
) -> None:
    _, before = whole(watching, DATABASE_CONFLICTS)
    (oid,) = reader.execute("select oid::int8 from pg_database where datname = current_database()").fetchone() or (0,)
    reader.execute("select pg_stat_reset()")

    def moved() -> set[int]:
        _, after = whole(watching, DATABASE_CONFLICTS)
        return {datid for datid, row in after.items() if row["stats_reset_at"] != before[datid]["stats_reset_at"]}

    until(lambda: moved() == {oid})


def test_a_restart_keeps_what_was_counted_and_a_crash_begins_anew(own: EmbeddedPostgres) -> None:
    load(own)
    with watched(own.dsn()) as watching:
        with psycopg.connect(own.dsn(), autocommit=True) as connection:
            metrics = known_to(connection)
        before = {metric: whole(watching, metric) for metric in metrics}
        own.restart()
        watching.target.close()
        for metric in metrics:
            after = whole(watching, metric)
            assert after[0] == before[metric][0]
            assert not fallen(metric, before[metric], after)
        own.restart("immediate")  # recovery follows, as after a crash
        watching.target.close()
        for metric in metrics:
            assert whole(watching, metric)[0] != before[metric][0]
        assert sum_of(whole(watching, WAL)[1], "wal_records") < sum_of(before[WAL][1], "wal_records")


def test_a_primary_prefetches_nothing(reader: psycopg.Connection, watching: Watched) -> None:
    expected = Status.EMPTY if major(reader) >= 15 else Status.UNSUPPORTED
    assert watching.run(RECOVERY_PREFETCH).status is expected
