"""Partitions: made ahead, dropped after their table's own time, and never waited for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from contracts.metrics import METRICS
from contracts.rollups import ROLLUPS
from functions.ingest.load import Loaded, load
from functions.maintenance import partitions
from functions.maintenance.partitions import Turned, turn
from functions.retention import Retention
from functions.store import Connection, Store
from tests.functions.batches import DAY_US, arrival, batch, frame, now_us

TABLES = len(METRICS) + 3  # runs, frames, gaps
NOW = datetime(2026, 3, 31, 0, 30, tzinfo=UTC)
MONTH = Retention(30)


def _turn(store: Store, retention: Retention = MONTH, seconds_left: float = 60) -> Turned:
    return turn(store, NOW, retention, lambda: seconds_left)


def _days(connection: Connection, table: str = "metric.host_load") -> set[date]:
    rows = connection.execute("select until_day - 1 from store.partition where of_table = %s", (table,))
    return {day for (day,) in rows}


def _make(connection: Connection, *days: str) -> None:
    for day in days:
        connection.execute("select store.make_partitions(%s::date)", (day,))


def test_partitions_are_made_from_yesterday_to_a_week_ahead(store: Store, connection: Connection) -> None:
    turned = _turn(store)
    assert (turned.made >= 9 * TABLES, turned.dropped) == (True, [])
    for metric in METRICS:
        assert _days(connection, f"metric.{metric.name}") == {NOW.date() + timedelta(days=day) for day in range(-1, 8)}
    again = _turn(store)
    assert (again.made, again.dropped, again.busy) == (0, [], [])


def test_what_is_beyond_the_retention_is_dropped_and_named(store: Store, connection: Connection) -> None:
    _make(connection, "2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02")
    connection.execute("insert into metric.host_load (target_id, collected_at) values (1, '2026-02-28 12:00Z')")
    # Thirty days before half past midnight of the 31st is the 1st: what was collected then is still loaded.
    turned = _turn(store)
    assert len(turned.dropped) == 2 * TABLES
    assert turned.dropped[0].endswith("_20260227")
    assert {"metric_host_load_20260228", "store_frames_20260228"} <= set(turned.dropped)
    assert turned.dropped_bytes >= 8192 * len(turned.dropped)  # each has an index, and that a page
    assert (turned.busy, turned.left) == ([], 0)
    assert min(_days(connection)) == date(2026, 3, 1)


def test_a_metric_is_kept_for_its_own_time_and_frames_for_the_longest(store: Store, connection: Connection) -> None:
    _make(connection, "2025-12-30", "2025-12-31", "2026-03-01", "2026-03-23", "2026-03-24")
    _turn(store, Retention(30, {"statement_text": 90, "activity": 7}))
    assert min(_days(connection, "metric.statement_text")) == date(2025, 12, 31)
    assert min(_days(connection, "store.frames")) == date(2025, 12, 31)
    assert min(_days(connection, "metric.host_load")) == date(2026, 3, 1)
    assert min(_days(connection, "store.runs")) == date(2026, 3, 1)
    assert min(_days(connection, "metric.activity")) == date(2026, 3, 24)


def test_rollups_are_kept_by_the_month_for_their_own_time(store: Store, connection: Connection) -> None:
    for month in ("2025-01-01", "2025-02-28"):
        connection.execute("select store.make_rollup_partitions(%s::date)", (month,))
    turned = _turn(store)
    assert turned.dropped == [f"rollup_{name}_202501" for name in sorted(of.name for of in ROLLUPS)]
    found = connection.execute("select until_day from store.partition where of_table = 'rollup.io' order by 1")
    assert [day for (day,) in found] == [date(2025, 3, 1), date(2026, 4, 1), date(2026, 5, 1)]


def test_the_loaders_oldest_instant_has_its_partition_kept(store: Store, connection: Connection) -> None:
    oldest = NOW - timedelta(days=30)
    connection.execute("select store.make_partitions(%s::date)", (oldest.date(),))
    _turn(store)
    connection.execute("insert into metric.host_load (target_id, collected_at) values (1, %s)", (oldest,))


def test_a_partition_in_use_is_skipped_named_and_dropped_the_next_time(
    store: Store, connection: Connection, store_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_PATIENCE", "50ms")
    _make(connection, "2026-02-28")
    with psycopg.connect(store_dsn) as reader:
        reader.execute("select count(*) from metric.host_load")
        turned = _turn(store)
        assert turned.busy == ["metric_host_load_20260228"]
        assert len(turned.dropped) == TABLES - 1
    assert _turn(store).dropped == ["metric_host_load_20260228"]


def test_what_there_is_no_time_for_is_left_and_counted(store: Store, connection: Connection) -> None:
    _make(connection, "2026-02-28")
    turned = _turn(store, seconds_left=0)
    assert (turned.dropped, turned.left) == ([], TABLES)
    assert len(_turn(store).dropped) == TABLES


def test_a_late_frame_of_a_metric_kept_longer_is_stored_and_brings_no_other_partition_back(
    store: Store, connection: Connection
) -> None:
    retention, at = Retention(30, {"statement_text": 90, "host_load": 7}), now_us() - 60 * DAY_US
    late = batch(sent_at=at + 1000, frames=[frame(name, at) for name in ("statement_text", "host_cpu")], runs=())
    assert load(store, [arrival(late)], retention) == [Loaded.NEW]
    made = connection.execute("select name from store.partition order by until_day, name").fetchall()
    day, oldest = (datetime.fromtimestamp(each / 1e6, UTC) for each in (at, now_us() - 30 * DAY_US))
    assert [name for (name,) in made] == [
        f"metric_statement_text_{day:%Y%m%d}",
        f"store_frames_{day:%Y%m%d}",
        f"store_gaps_{oldest:%Y%m%d}",
        f"store_runs_{oldest:%Y%m%d}",
    ]
    assert connection.execute("select count(*) from metric.statement_text").fetchone() == (3,)
    assert connection.execute("select batch_at, metric from store.frame").fetchall() == [
        (datetime.fromtimestamp((at + 1000) / 1e6, UTC), "statement_text")
    ]
    assert turn(store, datetime.now(UTC), retention, lambda: 60.0).dropped == []


def test_a_frame_of_a_metric_kept_shorter_is_left_out_and_the_gap_says_why(
    store: Store, connection: Connection
) -> None:
    now = now_us()
    frames = [frame(name, now - 8 * DAY_US) for name in ("host_load", "host_memory")]
    late = batch(sent_at=now, frames=frames, runs=())
    assert load(store, [arrival(late)], Retention(30, {"host_load": 7})) == [Loaded.NEW]
    assert connection.execute("select count(*) from metric.host_load").fetchone() == (0,)
    assert connection.execute("select count(*) from metric.host_memory").fetchone() == (1,)
    assert connection.execute("select reason, detail from store.gaps").fetchall() == [
        ("retention", "older than the 30 days that the store keeps; frames among it: 1; of host_load, 7")
    ]
