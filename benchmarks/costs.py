"""What a fleet costs on AWS in a month, computed of what was measured, list prices and named assumptions."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clock import Took
from benchmarks.measured import Measured
from contracts.claims import TOKEN_SECONDS

TRANSPORTS = ("http", "presigned", "s3")

PRICES = Path(__file__).parent / "prices.toml"
MODULE = Path(__file__).parents[1] / "infra" / "aws"

HOURS_A_MONTH, DAYS_A_MONTH, GB = 730.0, 365 / 12, 1e9

#: Pages of a listing, and bytes of the log that Aurora writes and asks for as one request.
_LISTED, _IO_BYTES = 1000, 4096


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


def _assume(value: float, help: str) -> float:
    found: float = field(default=value, metadata={"help": help})
    return found


@dataclass(frozen=True)
class Assumptions:
    """What was neither measured nor looked up."""

    core: float = _assume(1.0, "speed of a Lambda vCPU and of Aurora's against a core of this machine")
    vcpu_mb: float = _assume(1769, "memory (MB) with which a function has one vCPU; with less, its share")
    s3_put_ms: float = _assume(40, "time of a PUT of S3 as a function waits for it")
    s3_get_ms: float = _assume(30, "time of a GET")
    s3_list_ms: float = _assume(60, "time of a LIST")
    commit_ms: float = _assume(15, "round trips to the store and its commit, of a transaction")
    read_ms: float = _assume(2, "round trip of a single read")
    event_batches: float = _assume(1, "batches of an event that the loader is given while it keeps up, 10 at most")
    acu_a_vcpu: float = _assume(4, "ACU that have one vCPU")
    store_used: float = _assume(0.6, "share of the store's processors that is in use at peak")
    least_acu: float = _assume(0.5, "ACU of a store that has nothing to do")
    instances: float = _assume(2, "instances of the store, all as large as the writer")
    proxy_acu: float = _assume(8, "ACU that RDS Proxy asks at least")
    most_acu: float = _assume(256, "ACU of the largest writer")
    zones: float = _assume(2, "availability zones with interface endpoints")
    endpoints: float = _assume(2, "interface endpoints: Secrets Manager, SQS; S3 has a gateway that costs nothing")
    platform_log_bytes: float = _assume(330, "what Lambda itself logs of an invocation: START, END, REPORT")
    access_log_bytes: float = _assume(330, "a line of the API's access log")
    answer_bytes: float = _assume(1200, "bytes that leave AWS for a request: head, body, TLS")
    secret_reads: float = _assume(200_000, "reads of secrets in a month, by functions that start or look again")
    alarms: float = _assume(30, "alarms")
    upload_every_seconds: float = _assume(60, "upload_every_seconds of the configuration")
    pull_every_seconds: float = _assume(60, "pull_every_seconds of the configuration")


@dataclass(frozen=True)
class Module:
    """What infra/aws says: memory of its functions (MB), and the defaults of variables that are numbers.

    Those within a variable are `database.max_capacity` and the like.
    """

    memory: Mapping[str, int]
    defaults: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path = MODULE) -> Module:
        functions, variables = (folder / "functions.tf").read_text(), (folder / "variables.tf").read_text()
        memory = re.findall(r"^    (\w+) = \{\n(?:(?!^    \}).*\n)*?\s+memory\s+= (\d+)", functions, re.MULTILINE)
        defaults: dict[str, float] = {}
        for name, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', variables, re.MULTILINE | re.DOTALL):
            own = re.findall(r"^  default\s+= ([\d.]+)$", body, re.MULTILINE)
            if own:
                defaults[name] = float(own[0])
            parts = re.findall(r"^    (\w+)\s+= optional\(number, ([\d.]+)\)$", body, re.MULTILINE)
            defaults |= {f"{name}.{part}": float(found) for part, found in parts}
        return cls({name: int(mb) for name, mb in memory}, defaults)


@dataclass(frozen=True)
class Work:
    """What one host with one server asks for in an hour."""

    requests: float
    invocations: Mapping[str, float]
    seconds: Mapping[str, float]  # of Lambda
    puts: float
    gets: float
    lists: float
    messages: float  # requests to SQS
    logged_bytes: float
    sent_bytes: float  # out of AWS
    batches: float
    batch_bytes: float  # of an hour
    rows: float
    store_seconds: float  # of its processor
    store_bytes_an_hour: float
    rollup_bytes_an_hour: float
    ledger_bytes_an_hour: float
    store_requests: float  # Aurora's I/O

    @property
    def connections(self) -> float:
        """Sessions with the store at a time, on the mean."""
        return sum(self.seconds[each] for each in ("loader", "config", "identity")) / 3600


def work(m: Measured, a: Assumptions, module: Module, transport: str) -> Work:
    """The work of one host by this transport. `s3` pulls its configuration from the server all the same."""
    minutes = a.upload_every_seconds / 60
    batches, polls, tokens = 60 / minutes, 3600 / a.pull_every_seconds, 3600 / (TOKEN_SECONDS * 2 / 3)
    asked = 0.0 if transport == "s3" else batches
    requests = asked + polls + tokens

    def seconds(function: str, took: Took, waits_ms: float) -> float:
        share = min(1.0, module.memory[function] / a.vcpu_mb)
        return ((took.own_ms / share + took.store_ms) / a.core + waits_ms) / 1000

    # Who uploads less often uploads more at once: only requests become fewer, not the work on what is in them.
    load = Took(*(minutes * each for each in (m.load_singly if a.event_batches < 2 else m.load).__dict__.values()))
    events = batches / a.event_batches
    accept, put = (m.answers.batch, a.s3_put_ms) if transport == "http" else (m.answers.upload, 0.0)
    lists = _lists(module)
    answers, kept = m.answers, module.defaults["authorizer_cache_seconds"]
    invocations = {
        "authorizer": asked * _missed(kept, a.upload_every_seconds) + polls * _missed(kept, a.pull_every_seconds),
        "ingest": asked,
        "config": polls,
        "identity": tokens,
        "loader": events,
        "maintenance": 0.0,  # a few in an hour, whatever the fleet
        "reconcile": 0.0,
    }
    durations = {
        "authorizer": seconds("authorizer", answers.authorize, 0),
        "ingest": seconds("ingest", accept, put) * (minutes if transport == "http" else 1),
        "config": seconds("config", answers.unchanged, a.read_ms),
        "identity": seconds("identity", answers.token, a.commit_ms),
        "loader": a.event_batches * seconds("loader", load, a.s3_get_ms) + a.commit_ms / 1000,
    }
    spent = {name: invocations[name] * each for name, each in durations.items()}
    spent["maintenance"] = seconds("maintenance", m.rollup, a.commit_ms * m.targets / 2)
    looked = 60 * 24 * module.defaults["reconcile_days"] / _LISTED
    spent["reconcile"] = lists * a.s3_list_ms / 1000 + looked * seconds("reconcile", m.look_up, a.read_ms)
    wal = batches * minutes * m.load_wal_bytes + m.rollup_wal_bytes
    return Work(
        requests=requests,
        invocations=invocations,
        seconds=spent,
        puts=batches,
        gets=batches,
        lists=lists,
        messages=batches + 2 * events,  # S3 sends each; receiving and deleting are a request each for an event
        logged_bytes=requests * a.access_log_bytes
        + sum(invocations.values()) * a.platform_log_bytes
        + batches * m.log_line_bytes,
        sent_bytes=requests * a.answer_bytes + (batches * a.answer_bytes / 2 if transport != "http" else 0),
        batches=batches,
        batch_bytes=60 * m.batch_bytes,
        rows=60 * m.rows_a_batch,
        store_seconds=(
            batches * load.store_ms
            + polls * answers.unchanged.store_ms
            + tokens * answers.token.store_ms
            + m.rollup.store_ms
            + looked * m.look_up.store_ms
        )
        / a.core
        / 1000,
        store_bytes_an_hour=60 * (m.rows_a_batch * m.row_bytes + m.record_bytes),
        rollup_bytes_an_hour=m.rollup_bytes,
        ledger_bytes_an_hour=batches * m.ledger_bytes,
        store_requests=max(wal / _IO_BYTES, events) + tokens,
    )


def _missed(kept_seconds: float, every_seconds: float) -> float:
    """The share of requests, so far apart, that the authorizer is asked of: its answers are kept for a while."""
    return 1 / (1 + max(kept_seconds - 1, 0) // every_seconds)


def replayed_ms(m: Measured, a: Assumptions) -> float:
    """What a loader that is behind takes for a batch, ten at a time; and a replay."""
    return (m.load.own_ms + m.load.store_ms) / a.core + a.s3_get_ms + a.commit_ms / 10


def _lists(module: Module) -> float:
    """Requests of one look of the reconciler at a host: its days, and the pages of those that count."""
    days = module.defaults["reconcile_days"]
    return 1 + days * math.ceil(60 * 24 / _LISTED)


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
    ledger_a_year: float

    @property
    def store(self) -> float:
        return self.metrics + self.rollups + self.ledger_a_year


def stored(of: Work, module: Module) -> Stored:
    days = module.defaults
    return Stored(
        of.batch_bytes * 24 * days["bucket_keep_days"],
        of.store_bytes_an_hour * 24 * days["store_keep_days"],
        of.rollup_bytes_an_hour * 24 * days["rollup_keep_days"],
        of.ledger_bytes_an_hour * 24 * 365,
    )


def acu(of: Work, hosts: int, a: Assumptions) -> float:
    """Capacity that the store needs, in the halves that it comes in."""
    needed = of.store_seconds * hosts / 3600 * a.acu_a_vcpu / a.store_used
    return max(a.least_acu, math.ceil(needed * 2) / 2)


def bill(of: Work, hosts: int, a: Assumptions, module: Module, prices: Mapping[str, Price]) -> list[Item]:
    """The items of a month, of a fleet whose store and bucket are as full as they get; the ledger is a year old."""

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
