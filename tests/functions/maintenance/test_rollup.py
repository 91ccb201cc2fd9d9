"""An hour's rollup is what its readings come to, whatever happened to them, and however often it is made."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import fmean

import pytest
from pydantic import SecretStr

from contracts.batch import Batch, Frame
from contracts.metrics import ACTIVITY
from contracts.names import target_id
from contracts.rollups import ROLLUPS
from functions.ingest.load import Loaded, load
from functions.maintenance.rollup import RolledUp, roll_up
from functions.retention import Retention
from functions.store import Connection, Store
from tests.functions.batches import arrival, batch, columns, frames
from tests.functions.maintenance.histories import HOUR_US, History

MONTH = Retention(30)
HOURS = 5


@pytest.fixture
def start() -> int:
    """The beginning of an hour, some hours ago."""
    return time.time_ns() // 1000 // HOUR_US * HOUR_US - (HOURS + 3) * HOUR_US


def _load(store: Store, batches: Sequence[Batch]) -> None:
    for first in range(0, len(batches), 3):
        arrivals = [arrival(each) for each in batches[first : first + 3]]
        assert load(store, arrivals, MONTH) == [Loaded.NEW] * len(arrivals)


def _roll_up(store: Store, seconds: float = 60) -> RolledUp:
    return roll_up(store, datetime.now(UTC), MONTH, seconds, lambda: 60)


def _rows(connection: Connection, agent: str, name: str = "table_stats") -> list[tuple[object, ...]]:
    return connection.execute(
        f"select r.* from rollup.{name} r where target_id = %s order by r.*::text".encode(),
        (target_id(agent, "main"),),
    ).fetchall()


def _told(connection: Connection, agent: str) -> dict[tuple[datetime, int], tuple[object, ...]]:
    rows = connection.execute(
        """
        select hour, relid, n_tup_ins, falls, unknown, n_live_tup_avg, n_live_tup_min, n_live_tup_max, n_live_tup_last,
            samples
        from rollup.table_stats where target_id = %s
        """,
        (target_id(agent, "main"),),
    ).fetchall()
    return {(hour, relid): tuple(rest) for hour, relid, *rest in rows}


@pytest.mark.parametrize("full", [False, True], ids=["changed", "full"])
@pytest.mark.parametrize("seed", range(4))
def test_an_hour_is_what_its_readings_come_to(
    store: Store, connection: Connection, start: int, seed: int, full: bool
) -> None:
    history = History.random(seed, start, HOURS)
    _load(store, history.batches("a", full=full))
    done = _roll_up(store)
    assert (done.failed, done.left) == ({}, 0)
    told, expected = _told(connection, "a"), history.hours()
    assert set(told) <= set(expected)
    for place, hour in expected.items():
        if place not in told:  # nothing of it was sent in that hour: it stood as it was
            assert (hour.inserted, hour.falls, len(set(hour.live))) == (0, 0, 1), place
            continue
        inserted, falls, unknown, *live = told[place]
        # Where the hour's only row is a first one, what it has grown by since is not told of.
        assert inserted == hour.inserted or (inserted, hour.inserted, bool(unknown)) == (None, 0, True), place
        assert falls == hour.falls, place
        assert live == [pytest.approx(fmean(hour.live)), min(hour.live), max(hour.live), hour.live[-1], len(hour.live)]


@pytest.mark.parametrize("seed", range(3))
def test_hours_come_to_what_the_differences_do(store: Store, connection: Connection, start: int, seed: int) -> None:
    _load(store, History.random(seed, start, HOURS).batches("a"))
    _roll_up(store)
    rolled, differences = (
        connection.execute(query, {"target": target_id("a", "main")}).fetchall()
        for query in (
            """
            select hour, sum(n_tup_ins), sum(readings), sum(falls) from rollup.table_stats
            where target_id = %(target)s group by hour order by hour
            """,
            """
            select date_trunc('hour', collected_at), sum(n_tup_ins), count(*), count(*) filter (where fell)
            from delta.table_stats(%(target)s, '-infinity', now()) group by 1 order by 1
            """,
        )
    )
    assert len(rolled) == HOURS
    assert rolled == differences


def test_without_a_new_epoch_the_hours_come_to_the_whole_difference(
    store: Store, connection: Connection, start: int
) -> None:
    readings = [(1, {20000: (10**12 + 7 * index, 1)}) for index in range(HOURS * 12)]
    _load(store, History(start, readings).batches("a"))
    _roll_up(store)
    told = connection.execute(
        "select n_tup_ins, covered_us, resets, unknown from rollup.table_stats order by hour"
    ).fetchall()
    minutes_55, hour = 55 * 60_000_000, HOUR_US
    assert told == [(7 * 11, minutes_55, 0, 1), *[(7 * 12, hour, 0, 0)] * (HOURS - 1)]
    assert sum(row[0] for row in told) == 7 * (len(readings) - 1)


def test_a_new_epoch_is_counted_and_what_is_not_known_is_not_covered(
    store: Store, connection: Connection, start: int
) -> None:
    readings = [(1 + index // 6, {20000: (100 + index, 1)}) for index in range(12)]
    _load(store, History(start, readings).batches("a"))
    _roll_up(store)
    told = connection.execute("select n_tup_ins, covered_us, resets, unknown, falls from rollup.table_stats").fetchall()
    assert told == [(10, 50 * 60_000_000, 1, 2, 0)]


@pytest.mark.parametrize("seed", range(4))
def test_late_batches_roll_up_again_what_they_change(
    store: Store, connection: Connection, start: int, seed: int
) -> None:
    """In any order, with rollups in between, the rows are those of everything at once."""
    history, chance = History.random(seed, start, HOURS), random.Random(seed)
    batches = history.batches("late")
    chance.shuffle(batches)
    for first in range(0, len(batches), 3):
        _load(store, batches[first : first + 3])
        assert _roll_up(store).left == 0
    late = _rows(connection, "late")
    _load(store, history.batches("once"))
    _roll_up(store)
    assert [row[1:] for row in late] == [row[1:] for row in _rows(connection, "once")]
    assert late


def test_rolling_up_again_changes_nothing(store: Store, connection: Connection, start: int) -> None:
    _load(store, History.random(1, start, HOURS).batches("a"))
    assert _roll_up(store).hours == HOURS
    rows = _rows(connection, "a")
    assert _roll_up(store) == RolledUp()
    connection.execute("insert into store.rollup_due select distinct target_id, hour from rollup.table_stats")
    assert _roll_up(store).hours == HOURS
    assert _rows(connection, "a") == rows


def test_several_at_once_give_what_one_gives(store_dsn: str, store: Store, connection: Connection, start: int) -> None:
    agents = [f"agent-{number}" for number in range(4)]
    for agent in agents:
        _load(store, History.random(7, start, HOURS).batches(agent))
    stores = [Store(SecretStr(store_dsn), "tests") for _ in range(3)]
    failed: list[dict[str, str]] = []
    together = threading.Barrier(len(stores))

    def run(own: Store) -> None:
        together.wait()
        for _ in range(3):
            with own.transaction() as noting:
                noting.execute("insert into store.rollup_due select distinct target_id, hour from rollup.table_stats")
            failed.append(_roll_up(own).failed)
        own.close()

    threads = [threading.Thread(target=run, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [{}] * 9
    _roll_up(store)
    _load(store, History.random(7, start, HOURS).batches("once"))
    _roll_up(store)
    once = [row[1:] for row in _rows(connection, "once")]
    for agent in agents:
        assert [row[1:] for row in _rows(connection, agent)] == once


def test_two_runs_take_turns_at_a_target(store_dsn: str, store: Store, connection: Connection, start: int) -> None:
    note = "insert into store.rollup_due select distinct target_id, hour from rollup.table_stats"
    _load(store, History.random(2, start, HOURS).batches("a"))
    _roll_up(store)
    rows = _rows(connection, "a")
    other = Store(SecretStr(store_dsn), "tests of another run")

    def run() -> None:
        _roll_up(other)
        other.close()

    second = threading.Thread(target=run)
    with store.transaction() as first:
        first.execute(note)  # of its own, so that no note is a lock between the two
        assert _roll_up(store).hours == HOURS
        connection.execute(note)
        second.start()
        waits = (
            "select from pg_stat_activity where application_name = 'tests of another run' and wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 30
        while second.is_alive() and connection.execute(waits.encode()).fetchone() is None:
            assert time.monotonic() < deadline
    second.join()
    assert _rows(connection, "a") == rows


def test_what_is_being_loaded_is_rolled_up_the_next_time(
    store_dsn: str, store: Store, connection: Connection, start: int
) -> None:
    first, second = History(start, [(1, {20000: (index, 1)}) for index in range(12)]).batches("a")
    loader = Store(SecretStr(store_dsn), "tests")
    _load(store, [first])
    with loader.transaction():  # the load is within it, and is seen at its end
        _load(loader, [second])
        assert _roll_up(store).hours == 1
        assert connection.execute("select n_tup_ins from rollup.table_stats").fetchall() == [(5,)]
    assert _roll_up(store).hours == 1
    assert connection.execute("select n_tup_ins from rollup.table_stats").fetchall() == [(11,)]
    loader.close()


def test_an_hour_is_rolled_up_when_it_has_ended(store: Store, connection: Connection) -> None:
    now = time.time_ns() // 1000
    hour = now // HOUR_US * HOUR_US
    _load(store, History(hour - HOUR_US, [(1, {20000: (index, 1)}) for index in range(6)]).batches("a"))
    ended = datetime.fromtimestamp(hour / 1e6, UTC)
    early = roll_up(store, ended + timedelta(minutes=4), MONTH, 60, lambda: 60)
    assert (early.hours, early.left) == (0, 0)
    assert roll_up(store, ended + timedelta(minutes=5), MONTH, 60, lambda: 60).hours == 1


def test_every_declared_metric_is_rolled_up(store: Store, connection: Connection, start: int) -> None:
    for step in range(2):
        at = start + step * 60_000_000
        _load(store, [batch(step, sent_at=at + 1, frames=frames(at, step), runs=())])
    done = _roll_up(store)
    assert done.failed == {}
    for of in ROLLUPS:
        rows = connection.execute(f"select * from rollup.{of.name}".encode()).fetchall()
        names = [name for name, _ in of.stored]
        assert len(rows) == (3 if of.key else 1), of.name
        for row in (dict(zip(names, row, strict=True)) for row in rows):
            assert [row[name] for name in of.counters] == [1] * len(of.counters), of.name
            if of.counters:
                told = [row[name] for name in ("readings", "covered_us", "resets", "unknown", "falls")]
                assert told == [2, 60_000_000, 0, 1, 0], of.name
            for name in of.gauges:
                assert row[f"{name}_min"] == row[f"{name}_max"] == row[f"{name}_last"] == row[f"{name}_avg"], of.name
            assert row.get("samples", 2) == 2, of.name


def _activity(at: int, *sessions: tuple[str, int]) -> Frame:
    rows = len(sessions)
    made = {
        **columns(ACTIVITY, rows),
        "state": [state for state, _ in sessions],
        "sessions": [number for _, number in sessions],
        "datid": [5] * rows,
        "wait_event_type": [None] * rows,
    }
    return Frame(metric="activity", target="main", collected_at=at, columns=made)


def test_sessions_that_are_not_there_count_as_none(store: Store, connection: Connection, start: int) -> None:
    at = [start + minute * 60_000_000 for minute in range(4)]
    made = [_activity(at[0], ("active", 2), ("active", 3), ("idle", 7))]
    made += [_activity(at[index], ("idle", index)) for index in (1, 2, 3)]
    _load(store, [batch(sent_at=at[-1] + 1, frames=made, runs=())])
    _roll_up(store)
    told = connection.execute(
        "select state, sessions_avg, sessions_min, sessions_max, sessions_last, samples from rollup.activity order by 1"
    ).fetchall()
    assert told == [("active", 1.25, 0, 5, 0, 4), ("idle", 13 / 4, 1, 7, 3, 4)]


def test_a_backlog_is_worked_off_bit_by_bit_and_newest_first(store: Store, connection: Connection, start: int) -> None:
    _load(store, History.random(3, start - 24 * HOUR_US, 24 + HOURS).batches("a"))
    ended = iter([60.0])
    done = roll_up(store, datetime.now(UTC), MONTH, 60, lambda: next(ended, 0))
    assert 0 < done.hours < 24
    assert done.hours + done.left == 24 + HOURS
    newest = datetime.fromtimestamp((start + (HOURS - 1) * HOUR_US) / 1e6, UTC)
    assert connection.execute("select max(hour) from rollup.table_stats").fetchone() == (newest,)
    assert _roll_up(store, seconds=0).hours == 0
    assert _roll_up(store).left == 0
    once = _rows(connection, "a")
    _load(store, History.random(3, start - 24 * HOUR_US, 24 + HOURS).batches("once"))
    _roll_up(store)
    assert [row[1:] for row in once] == [row[1:] for row in _rows(connection, "once")]


def test_an_hour_whose_readings_are_dropped_stays_as_it_was(store: Store, connection: Connection, start: int) -> None:
    _load(store, History.random(5, start, HOURS).batches("a"))
    _roll_up(store)
    rows = _rows(connection, "a")
    connection.execute("truncate metric.table_stats")
    connection.execute("insert into store.rollup_due select distinct target_id, hour from rollup.table_stats")
    later = datetime.now(UTC) + timedelta(days=2)
    done = roll_up(store, later, Retention(30, {"table_stats": 1}), 60, lambda: 60)
    assert (done.hours, done.left) == (HOURS, 0)
    assert _rows(connection, "a") == rows


def test_rollups_beyond_their_own_retention_are_not_made(store: Store, connection: Connection, start: int) -> None:
    _load(store, History.random(5, start, HOURS).batches("a"))
    done = roll_up(store, datetime.now(UTC) + timedelta(days=5), Retention(30, rollups=2), 60, lambda: 60)
    assert (done.rows, done.left) == (0, 0)
    assert connection.execute("select count(*) from store.partition where of_table ~ '^rollup'").fetchone() == (0,)


def test_a_target_that_cannot_be_rolled_up_costs_no_other(store: Store, connection: Connection, start: int) -> None:
    much = History(start, [(1, {20000: (index * 2**62, 1)}) for index in (0, 1)])
    least = History(start, [(1, {20000: (-(2**63), 1)}), (1, {20000: (2**63 - 1, 1)})])
    _load(store, least.batches("bad"))
    _load(store, much.batches("good"))
    done = _roll_up(store)
    assert list(done.failed) == [str(target_id("bad", "main"))]
    assert "out of range" in done.failed[str(target_id("bad", "main"))]
    assert (done.hours, done.left) == (1, 1)
    assert connection.execute("select n_tup_ins from rollup.table_stats").fetchall() == [(2**62,)]
