"""What is remembered of callers has a bound, and what they may ask comes back with time."""

from __future__ import annotations

import pytest

from infra.standalone.limits import Buckets, BusyError, Places


def test_a_bucket_fills_with_time_and_no_further() -> None:
    now = [0.0]
    buckets = Buckets(4, lambda: now[0])
    assert [buckets.take("a") for _ in range(41)] == [0] * 40 + [1]
    now[0] += 0.5
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]
    now[0] += 1e6
    assert [buckets.take("a") for _ in range(41)] == [0] * 40 + [1]


def test_a_slow_rate_says_how_long_it_takes_and_lets_one_through() -> None:
    now = [0.0]
    buckets = Buckets(0.01, lambda: now[0])
    assert [buckets.take("a"), buckets.take("a")] == [0, 100]
    now[0] += 100
    assert buckets.take("a") == 0


def test_a_clock_that_stands_still_gives_nothing_for_free() -> None:
    buckets = Buckets(1, lambda: 5.0)
    assert sum(buckets.take("a") == 0 for _ in range(1000)) == 10


def test_only_the_last_callers_are_remembered() -> None:
    buckets = Buckets(1, lambda: 0.0, most=3)
    for caller in range(10_000):
        buckets.take("a")
        buckets.take(caller)
        assert len(buckets) <= 3
    assert buckets.take("a") > 0  # who comes all the time is not forgotten


def test_places_are_given_back() -> None:
    places = Places(3, 2)
    for caller in ("a", "a", "b"):
        places.enter(caller)
    with pytest.raises(BusyError) as of_one:
        places.enter("a")
    with pytest.raises(BusyError) as of_all:
        places.enter("c")
    assert (of_one.value.of_one, of_all.value.of_one) == (True, False)
    places.leave("b")
    with places.place("c"), pytest.raises(BusyError):
        places.enter("d")
    places.enter("d")
