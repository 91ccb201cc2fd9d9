"""Failed logins slow their address, and nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from functions.authorizer.failures import (
    FORGOTTEN,
    FREE_OF_ADDRESS,
    FREE_OF_PAIR,
    MAX_WAIT_SECONDS,
    Attempt,
    Slowed,
    abandoned,
    begin,
    succeeded,
    wait_seconds,
)
from functions.store import Connection, Store
from tests.functions.authorizer.operating import ELSEWHERE, HERE, NOW


def _fail(connection: Connection, times: int, account: str = "ann", address: str = HERE) -> None:
    """Failures in a row, each as soon as it may come; the last is at NOW."""
    for _ in range(times):
        connection.execute("update identity.failure set last_at = last_at - interval '1 h'")
        assert isinstance(begin(connection, account, address, NOW), Attempt)
    connection.execute("update identity.failure set last_at = %s", (NOW,))


def _wait(connection: Connection, account: str = "ann", address: str = HERE) -> int:
    found = begin(connection, account, address, NOW)
    return found.seconds if isinstance(found, Slowed) else 0


def test_waits_double_and_end_at_a_quarter_of_an_hour() -> None:
    waits = [wait_seconds(failures, FREE_OF_PAIR) for failures in (0, 4, 5, 6, 7, 14, 15, 10**9)]
    assert waits == [0, 0, 1, 2, 4, 512, 900, 900]


@pytest.mark.parametrize(("failures", "seconds"), [(4, 0), (5, 1), (8, 8), (12, 128)])
def test_an_account_waits_at_the_address_where_its_logins_failed(
    connection: Connection, failures: int, seconds: int
) -> None:
    _fail(connection, failures)
    assert _wait(connection, address=ELSEWHERE) == 0
    assert _wait(connection, account="ben") == 0
    assert _wait(connection) == seconds


def test_an_address_waits_whatever_account_it_tries(connection: Connection) -> None:
    for number in range(FREE_OF_ADDRESS + 3):
        _fail(connection, 1, f"user{number}")
    assert _wait(connection, "somebody.else") == 8
    assert _wait(connection, "somebody.else", ELSEWHERE) == 0


def test_the_wait_is_over_when_it_is_over(connection: Connection) -> None:
    _fail(connection, 10)
    late = NOW + timedelta(seconds=32)
    assert begin(connection, "ann", HERE, late - timedelta(milliseconds=1)) == Slowed(1, first=True)
    assert isinstance(begin(connection, "ann", HERE, late), Attempt)
    assert begin(connection, "ann", HERE, late) == Slowed(64, first=True)


def test_waiting_costs_no_more_waiting(connection: Connection) -> None:
    _fail(connection, 10)
    early = [begin(connection, "ann", HERE, NOW + timedelta(seconds=second)) for second in range(30)]
    assert early == [Slowed(32 - second, first=second == 0) for second in range(30)]
    attempt = begin(connection, "ann", HERE, NOW + timedelta(seconds=32))
    assert isinstance(attempt, Attempt)
    assert attempt.unexamined == 30


def test_success_forgets_the_accounts_failures_and_not_the_addresss(connection: Connection) -> None:
    _fail(connection, 3)
    attempt = begin(connection, "ann", HERE, NOW)
    assert isinstance(attempt, Attempt)
    succeeded(connection, attempt)
    rows = connection.execute("select account, failures from identity.failure").fetchall()
    assert rows == [("", 3)]


def test_success_makes_nobody_wait_anew(connection: Connection) -> None:
    _fail(connection, FREE_OF_ADDRESS + 5, "nobody")
    connection.execute("delete from identity.failure where account <> ''")
    late = NOW + timedelta(seconds=40)
    attempt = begin(connection, "ann", HERE, late)
    assert isinstance(attempt, Attempt)
    succeeded(connection, attempt)
    assert isinstance(begin(connection, "ben", HERE, late), Attempt)


def test_what_nobody_examined_does_not_count(connection: Connection) -> None:
    _fail(connection, 3)
    before = connection.execute("select * from identity.failure order by account").fetchall()
    attempt = begin(connection, "ann", HERE, NOW + timedelta(hours=1))
    assert isinstance(attempt, Attempt)
    abandoned(connection, attempt)
    assert connection.execute("select * from identity.failure order by account").fetchall() == before


def test_failures_of_long_ago_count_no_more(connection: Connection) -> None:
    _fail(connection, 19)
    assert isinstance(begin(connection, "ann", HERE, NOW + FORGOTTEN), Attempt)
    rows = connection.execute("select failures from identity.failure").fetchall()
    assert rows == [(1,), (1,)]


def test_a_clock_that_is_behind_makes_nobody_wait_longer(connection: Connection) -> None:
    _fail(connection, 30)
    assert begin(connection, "ann", HERE, NOW - timedelta(days=2)) == Slowed(MAX_WAIT_SECONDS, first=True)


def test_many_at_once_are_no_way_past_the_limit(store: Store) -> None:
    def one(_: int) -> bool:
        try:
            with store.transaction() as connection:
                return isinstance(begin(connection, "ann", HERE, NOW), Attempt)
        finally:
            store.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(40))) == FREE_OF_PAIR
