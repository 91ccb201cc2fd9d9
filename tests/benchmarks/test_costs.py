"""What is computed of measured figures: the bill of a fleet, the limits that it meets, and where both come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.answered import Answers
from benchmarks.clock import Took
from benchmarks.costs import PRICES, Price, read_prices
from benchmarks.measured import Measured
from benchmarks.reckoned import Reckoned
from benchmarks.work import TRANSPORTS, Assumptions, Module

_TOOK = Took(wall_ms=2, own_ms=1, store_ms=1)

_MEASURED = Measured(
    hosts=1,
    tables=100,
    minutes=1,
    targets=2,
    rows_a_batch=200,
    first_batch_bytes=30_000,
    batch_bytes=10_000,
    inflated_bytes=100_000,
    answers=Answers(_TOOK, _TOOK, _TOOK, _TOOK, _TOOK),
    load=_TOOK,
    load_singly=_TOOK,
    load_wal_bytes=40_960,
    log_line_bytes=300,
    row_bytes=250,
    largest={},
    record_bytes=5000,
    ledger_bytes=400,
    rollup=Took(wall_ms=500, own_ms=10, store_ms=400),
    rollup_rows=1000,
    rollup_bytes=200_000,
    rollup_wal_bytes=400_000,
    partitions_a_day=52,
    make_day=_TOOK,
    drop_partition=_TOOK,
    look_up=_TOOK,
)


@pytest.fixture(scope="module")
def of() -> Reckoned:
    return Reckoned(_MEASURED, Assumptions(), Module.read(), read_prices(PRICES), (1000,))


def test_the_module_says_the_memory_of_every_function_and_the_defaults(of: Reckoned) -> None:
    assert {"authorizer", "ingest", "loader", "config", "identity", "maintenance", "reconcile"} <= set(of.module.memory)
    for transport in TRANSPORTS:
        assert of.bill(transport, 1000)
        assert of.limits(transport)


def test_a_bill_has_every_part_once_and_most_of_it_grows_with_the_fleet(of: Reckoned) -> None:
    small, large = of.bill("http", 1000), of.bill("http", 100_000)
    names = [item.name for item in small]
    assert len(set(names)) == len(names)
    fixed = {item.name for item, other in zip(small, large, strict=True) if item.usd == other.usd}
    assert fixed == {
        "CloudWatch: alarms",
        "Secrets Manager: secrets",
        "Secrets Manager: reads",
        "VPC: interface endpoints",
    }


def test_a_put_of_each_host_a_minute_costs_what_s3_asks(of: Reckoned) -> None:
    (put,) = [item for item in of.bill("http", 1000) if item.name == "S3: PUT"]
    assert put.quantity == 1000 * 60 * 730
    assert put.usd == pytest.approx(put.quantity / 1000 * 0.0054)


def test_who_uploads_past_the_server_asks_less_of_it(of: Reckoned) -> None:
    asked = {transport: of.work(transport) for transport in TRANSPORTS}
    assert asked["s3"].requests < asked["presigned"].requests == asked["http"].requests
    assert asked["s3"].seconds["ingest"] == 0 < asked["presigned"].seconds["ingest"] < asked["http"].seconds["ingest"]
    assert asked["s3"].puts == asked["http"].puts


def test_kept_answers_spare_the_authorizer_where_they_outlast_the_next_question(of: Reckoned) -> None:
    asked = [of.saying(authorizer_cache_seconds=kept).work("http").invocations["authorizer"] for kept in (0, 60, 300)]
    assert asked == [120, 120, 24]


def test_limits_come_in_the_order_in_which_a_fleet_meets_them(of: Reckoned) -> None:
    hosts = [limit.hosts for limit in of.limits("http")]
    assert hosts == sorted(hosts)
    rate = next(each for each in of.limits("http") if each.name.startswith("requests_per_second"))
    assert rate.hosts == of.module.defaults["requests_per_second"] * 3600 / (60 + 60 + 6)


def test_each_price_is_dated_or_said_to_be_assumed() -> None:
    prices = read_prices(PRICES)
    assert [name for name, price in prices.items() if (price.looked_up is None) == (price.assumed is None)] == []


def test_a_file_replaces_the_prices_that_it_has(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[sqs]\nusd = 1\nper = 10\nunit = "requests"\nlooked_up = "2027-01-01"\n')
    assert read_prices(file)["sqs"] == Price(1, 10, "requests", "2027-01-01")
    assert read_prices(file)["s3_put"] == read_prices(PRICES)["s3_put"]
    file.write_text("[nothing]\nusd = 1\n")
    with pytest.raises(ValueError, match="nothing: no such price"):
        read_prices(file)
    file.write_text("[sqs]\nusd = 1\n")
    with pytest.raises(ValueError, match="a price has usd, per, unit"):
        read_prices(file)
