"""What a fleet costs on AWS in a month: list prices, times what its hosts ask for."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.work import Assumptions, Module, Work
from functions.maintenance.expire import LEDGER_DAYS

PRICES = Path(__file__).parent / "prices.toml"

HOURS_A_MONTH, DAYS_A_MONTH, GB = 730.0, 365 / 12, 1e9


@dataclass(frozen=True)
class Price:
    """`usd` for so many units; its page's date, or why there is none."""

    usd: float
    per: float
    unit: str
    looked_up: str | None = None
    assumed: str | None = None

    def of(self, quantity: float) -> float:
        return self.usd * quantity / self.per


def read_prices(file: Path) -> dict[str, Price]:
    """The prices in a file, over those that are the project's."""
    own = tomllib.loads(PRICES.read_text())
    told = tomllib.loads(file.read_text())
    if strange := sorted(told.keys() - own.keys()):
        raise ValueError(f"{file}: {', '.join(strange)}: no such price; there are {', '.join(own)}")
    try:
        return {name: Price(**price) for name, price in {**own, **told}.items()}
    except TypeError as error:
        raise ValueError(f"{file}: a price has usd, per, unit, and looked_up or assumed: {error}") from error


@dataclass(frozen=True)
class Item:
    """One line of the bill of a month."""

    name: str
    quantity: float
    unit: str
    usd: float


_Itemize = Callable[[str, str, float], Item]


@dataclass(frozen=True)
class Stored:
    """Bytes of a host once its oldest data is dropped: in the bucket, and in the store."""

    bucket: float
    metrics: float
    rollups: float
    ledger: float

    @property
    def store(self) -> float:
        return self.metrics + self.rollups + self.ledger


def stored(of: Work, module: Module) -> Stored:
    days = module.defaults
    return Stored(
        of.batch_bytes * 24 * days["bucket_keep_days"],
        of.store_bytes_an_hour * 24 * days["store_keep_days"],
        of.rollup_bytes_an_hour * 24 * days["rollup_keep_days"],
        of.ledger_bytes_an_hour * 24 * (days["store_keep_days"] + LEDGER_DAYS),
    )


def acu(of: Work, hosts: int, a: Assumptions) -> float:
    """Capacity that the store needs, in the halves that it comes in."""
    needed = of.store_seconds * hosts / 3600 * a.acu_a_vcpu / a.store_used
    return max(a.least_acu, math.ceil(needed * 2) / 2)


def bill(of: Work, hosts: int, a: Assumptions, module: Module, prices: Mapping[str, Price]) -> list[Item]:
    """The items of a month, of a fleet whose store and bucket are as full as they get."""

    def item(name: str, price: str, quantity: float) -> Item:
        return Item(name, quantity, prices[price].unit, prices[price].of(quantity))

    months = hosts * HOURS_A_MONTH
    return list(_items(of, hosts, months, a, module, item))


def _items(of: Work, hosts: int, months: float, a: Assumptions, module: Module, item: _Itemize) -> Iterator[Item]:
    kept, logged = stored(of, module), of.logged_bytes * months / GB
    for function, spent in of.seconds.items():
        gb_seconds = spent * months * module.memory[function] / 1024
        yield item(f"Lambda {function}: GB-seconds", "lambda_compute", gb_seconds)
    yield item("Lambda: requests", "lambda_requests", sum(of.invocations.values()) * months)
    yield item("API Gateway: requests", "http_api", of.requests * months)
    yield item("S3: PUT", "s3_put", of.puts * months)
    yield item("S3: LIST", "s3_put", of.lists * months)
    yield item("S3: GET", "s3_get", of.gets * months)
    yield item("S3: storage", "s3_storage", kept.bucket * hosts / GB)
    yield item("SQS: requests", "sqs", of.messages * months)
    yield item("CloudWatch: logs taken in", "logs_ingested", logged)
    yield item("CloudWatch: logs kept", "logs_kept", logged * module.defaults["log_keep_days"] / DAYS_A_MONTH)
    yield item("CloudWatch: alarms", "alarm", a.alarms)
    yield item("Secrets Manager: secrets", "secret", 3)
    yield item("Secrets Manager: reads", "secret_read", a.secret_reads)
    yield item("VPC: interface endpoints", "endpoint", a.endpoints * a.zones * HOURS_A_MONTH)
    capacity = acu(of, hosts, a) * a.instances
    yield item("Aurora: capacity", "aurora_acu", capacity * HOURS_A_MONTH)
    yield item("Aurora: RDS Proxy", "proxy", max(capacity, a.proxy_acu) * HOURS_A_MONTH)
    yield item("Aurora: storage", "aurora_storage", kept.store * hosts / GB)
    yield item("Aurora: I/O", "aurora_io", of.store_requests * months)
    yield item("Data transfer out", "transfer_out", of.sent_bytes * months / GB)
