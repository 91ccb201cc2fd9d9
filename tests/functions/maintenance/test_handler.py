"""Maintenance is asked for by events; each task says what it did, and none is done twice at once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from contracts.metrics import METRICS
from functions.environment import EnvironmentVariableError
from functions.ingest.load import Loaded, load
from functions.maintenance.alone import alone
from functions.maintenance.expire import expire
from functions.maintenance.handler import handler
from functions.maintenance.tasks import TASKS, UnknownTaskError
from functions.retention import Retention
from functions.store import Connection, Store, StoreUnavailableError
from infra.standalone.schedule import MaintenanceContext
from tests.functions.batches import DAY_US, arrival, batch, now_us

CONTEXT = MaintenanceContext()
TABLES = len(METRICS) + 3  # runs, frames, gaps


def _do(task: str = "partitions") -> dict[str, Any]:
    return handler({"task": task}, CONTEXT)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("task", TASKS)
def test_a_task_tells_of_itself_and_can_be_done_again(task: str) -> None:
    first, second = _do(task), _do(task)
    assert first["task"] == second["task"] == task
    assert set(first) == set(second)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("task", TASKS)
def test_a_task_that_is_being_done_is_left_to_who_is_at_it(task: str, store: Store) -> None:
    with alone(store, task) as free:
        assert free
        assert _do(task) == {"task": task, "running": True}
    assert "running" not in _do(task)


@pytest.mark.usefixtures("deployed")
def test_tasks_do_not_hold_up_one_another(store: Store) -> None:
    with alone(store, "partitions"):
        assert "running" not in _do("expire")


@pytest.mark.usefixtures("deployed")
def test_who_dies_at_a_task_leaves_it_free(store: Store, connection: Connection) -> None:
    with alone(store, "expire"):
        # With a time to wait, it answers once the backend is gone, and with it the lock.
        ended = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'tests'"
        assert connection.execute(ended).fetchall() == [(True,)]
        assert "running" not in _do("expire")


@pytest.mark.usefixtures("deployed")
def test_the_retention_is_a_setting(monkeypatch: pytest.MonkeyPatch, connection: Connection) -> None:
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS", "2")
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS_BY_METRIC", "statement_text=3")
    three_ago = datetime.now(UTC).date() - timedelta(days=3)
    connection.execute("select store.make_partitions(%s::date)", (three_ago,))
    assert len(_do()["dropped"]) == TABLES - 2  # without statement_text, and frames that stand as long as any


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("actvity=7", "'actvity' is no metric; did you mean 'activity'?"),
        ("activity", "activity: '' is not a number of days from 1 to 3650"),
        ("activity=0", "activity: '0' is not a number"),
        ("activity=7,activity=8", "activity stands there twice"),
    ],
)
def test_a_retention_that_cannot_be(written: str, mend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS_BY_METRIC", written)
    with pytest.raises(EnvironmentVariableError) as failed:
        _do()
    assert str(failed.value).startswith("PGANALYTICS_KEEP_DAYS_BY_METRIC: ")
    assert mend in str(failed.value)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("event", [{}, {"task": "vacuum"}, {"task": None}, {"task": ["partitions"]}])
def test_an_unknown_task_is_named_and_so_are_those_there_are(event: dict[str, object]) -> None:
    with pytest.raises(UnknownTaskError, match="is unknown; there is 'partitions'") as failed:
        handler(event, CONTEXT)
    assert all(repr(task) in str(failed.value) for task in TASKS)


def test_a_store_that_is_down_fails_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=127.0.0.1 port=1")
    with pytest.raises(StoreUnavailableError):
        _do()


@pytest.mark.usefixtures("deployed")
def test_what_went_to_quarantine_long_ago_is_forgotten(connection: Connection) -> None:
    for days in (0, 89, 91, 200):
        connection.execute(
            "insert into store.quarantine values (%s, null, 'bad', now() - %s)", (f"key-{days}", timedelta(days=days))
        )
    done = _do("expire")
    assert (done["removed"], done["left"]) == (2, 2)
    found = connection.execute("select object_key from store.quarantine order by 1").fetchall()
    assert found == [("key-0",), ("key-89",)]


_REMEMBERED = """
    insert into identity.assertion values ('db-1', %(id)s, %(at)s);
    insert into identity.failure (account, address, failures, last_at) values (%(id)s, '::1', 3, %(at)s);
    insert into identity.session (id, operator, created_at, expires_at)
        values (md5(%(id)s)::uuid, 'ann', %(at)s - interval '1 day', %(at)s);
    insert into identity.refresh (token_sha256, session_id, issued_at, expires_at)
        values (sha256(%(id)s::bytea), md5(%(id)s)::uuid, %(at)s - interval '1 day', %(at)s);
"""


@pytest.mark.usefixtures("deployed")
def test_what_keeps_strangers_out_is_forgotten_when_nobody_asks_for_it_any_more(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connection.execute(
        "insert into identity.operator (name, role, password_hash, password_changed_at, created_at, created_by)"
        " values ('ann', 'viewer', 'x', now(), now(), 'ann')"
    )
    cursor = psycopg.ClientCursor(connection)
    for hours in (-1, 0, 23, 25, 29 * 24, 31 * 24):
        at = datetime.now(UTC) - timedelta(hours=hours)
        cursor.execute(_REMEMBERED, {"id": f"{hours} hours ago", "at": at})
    done = _do("expire")
    forgotten = {"assertions": 3, "failures": 3, "sessions": 1}
    assert done == {"task": "expire", "removed": 0, "left": 0, "batches": 0, **forgotten}
    for table, left in (("assertion", 3), ("failure", 3), ("session", 5), ("refresh", 5)):
        counted = connection.execute(f"select count(*) from identity.{table}".encode()).fetchone()
        assert counted == (left,), table
    (line,) = caplog.records
    assert (line.getMessage(), line.__dict__["assertions"], line.__dict__["sessions"]) == ("expire", 3, 1)


@pytest.mark.usefixtures("deployed")
def test_the_ledger_forgets_batches_of_which_nothing_can_be_loaded_again(
    monkeypatch: pytest.MonkeyPatch, store: Store, connection: Connection
) -> None:
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS_BY_METRIC", "host_cpu=40")
    monkeypatch.setattr("functions.maintenance.expire._BATCHES_AT_ONCE", 2)
    retention, ages = Retention(30, {"host_cpu": 40}), (0, 39, 41, 43, 44, 45)
    arrivals = [arrival(batch(seq, sent_at=now_us() - days * DAY_US)) for seq, days in enumerate(ages)]
    assert load(store, arrivals, retention) == [Loaded.NEW] * len(arrivals)
    connection.execute("update store.ledger set loaded_at = sent_at")
    stands = "select (select count(*) from metric.host_cpu), (select count(*) from store.runs)"
    before = connection.execute(stands).fetchone()
    assert _do("expire")["batches"] == 3

    # Whoever loads all of them once more makes nothing stand twice.
    assert load(store, arrivals, retention) == [Loaded.ALREADY] * 3 + [Loaded.NEW] * 3
    assert connection.execute(stands).fetchone() == before == (2, 2)


@pytest.mark.usefixtures("deployed")
def test_a_ledger_that_is_too_long_for_the_time_is_forgotten_the_next_time(
    store: Store, connection: Connection
) -> None:
    arrivals = [arrival(batch(seq, frames=(), sent_at=now_us() - 40 * DAY_US)) for seq in range(2)]
    load(store, arrivals, Retention(30))
    connection.execute("update store.ledger set loaded_at = sent_at")
    now = datetime.now(UTC)
    assert expire(store, now, 90, Retention(30), lambda: 0).batches == 0
    assert expire(store, now, 90, Retention(30), lambda: 1).batches == 2


@pytest.mark.usefixtures("deployed")
def test_what_was_done_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    done = _do()
    (record,) = caplog.records
    assert record.getMessage() == "partitions"
    assert {name: record.__dict__[name] for name in done} == done
    assert done["dropped_bytes"] == 0


def test_the_lock_is_given_back_when_the_task_fails(store: Store, store_dsn: str) -> None:
    with pytest.raises(ZeroDivisionError), alone(store, "expire"):
        raise ZeroDivisionError
    with psycopg.connect(store_dsn) as connection:
        assert connection.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() == (0,)
