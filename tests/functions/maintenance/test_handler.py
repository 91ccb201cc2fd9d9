from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from contracts.metrics import METRICS
from functions.maintenance.handler import UnknownTaskError, handler
from functions.maintenance.partitions import turn
from functions.store import Connection, Store, StoreUnavailableError

EVENT = {"task": "partitions"}
TABLES = len(METRICS) + 3  # runs, frames, gaps
NOW = datetime(2026, 3, 31, 0, 30, tzinfo=UTC)


def _days(connection: Connection) -> set[date]:
    rows = connection.execute(
        "select right(relname, 8) from pg_class where relnamespace = 'partition'::regnamespace and relkind = 'r'"
    )
    return {datetime.strptime(row[0], "%Y%m%d").replace(tzinfo=UTC).date() for row in rows}


@pytest.mark.usefixtures("deployed")
def test_partitions_are_made_from_yesterday_to_a_week_ahead(connection: Connection) -> None:
    today = datetime.now(UTC).date()
    assert handler(EVENT, None) == {"task": "partitions", "made": 9 * TABLES, "dropped": 0}
    assert _days(connection) == {today + timedelta(days=day) for day in range(-1, 8)}


@pytest.mark.usefixtures("deployed")
def test_doing_it_again_does_nothing() -> None:
    handler(EVENT, None)
    assert handler(EVENT, None) == {"task": "partitions", "made": 0, "dropped": 0}


def test_what_is_beyond_the_retention_is_dropped(store: Store, connection: Connection) -> None:
    for day in ("2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"):
        connection.execute("select store.make_partitions(%s::date)", (day,))
    # Thirty days before half past midnight of the 31st is the 1st: what was collected then is still loaded.
    assert turn(store, NOW, keep_days=30).dropped == 2 * TABLES
    assert min(_days(connection)) == date(2026, 3, 1)


def test_the_loaders_oldest_instant_has_its_partition_kept(store: Store, connection: Connection) -> None:
    oldest = NOW - timedelta(days=30)
    connection.execute("select store.make_partitions(%s::date)", (oldest.date(),))
    turn(store, NOW, keep_days=30)
    connection.execute("insert into metric.host_load (target_id, collected_at) values (1, %s)", (oldest,))


@pytest.mark.usefixtures("deployed")
def test_the_retention_is_a_setting(monkeypatch: pytest.MonkeyPatch, connection: Connection) -> None:
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS", "2")
    three_ago = datetime.now(UTC).date() - timedelta(days=3)
    connection.execute("select store.make_partitions(%s::date)", (three_ago,))
    assert handler(EVENT, None)["dropped"] == TABLES


@pytest.mark.parametrize("event", [{}, {"task": "rollup"}, {"task": None}])
def test_an_unknown_task_is_named(event: dict[str, object]) -> None:
    with pytest.raises(UnknownTaskError, match="is unknown; there is 'partitions'"):
        handler(event, None)


def test_a_store_that_is_down_fails_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=127.0.0.1 port=1")
    with pytest.raises(StoreUnavailableError):
        handler(EVENT, None)
