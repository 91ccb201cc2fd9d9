"""One statement that only reads costs one way there and back, and outlives a connection that broke."""

from __future__ import annotations

import psycopg
import pytest
from pydantic import SecretStr

from functions.store import Connection, Store, StoreUnavailableError

_END = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'tests'"


def test_a_read_is_a_transaction_of_its_own(store: Store) -> None:
    for number in range(3):
        assert store.read("select %(number)s::integer", {"number": number}) == [(number,)]
        assert store._local.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_read_outlives_its_connection(store: Store, connection: Connection) -> None:
    first = store.read("select pg_backend_pid()", {})
    assert connection.execute(_END).fetchall() == [(True,)]
    assert store.read("select pg_backend_pid()", {}) != first


def test_a_read_that_the_server_gives_up_is_not_done_again(store: Store) -> None:
    store.read("select set_config('statement_timeout', '1ms', false)", {})
    with pytest.raises(StoreUnavailableError, match="canceling statement due to statement timeout"):
        store.read("select pg_sleep(60)", {})


def test_a_fault_of_ours_is_told_as_it_is(store: Store) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            store.read("select from nowhere", {})


def test_without_a_server_there_is_nothing_to_read() -> None:
    away = Store(SecretStr("host=127.0.0.1 port=1 password=secret"), "tests")
    with pytest.raises(StoreUnavailableError) as failed:
        away.read("select 1", {})
    assert "secret" not in str(failed.value)
