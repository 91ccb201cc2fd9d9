"""What a host asks of each part of a deployment on AWS in an hour: of measured figures, the module, and assumptions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clock import Took
from benchmarks.measured import Measured
from contracts.claims import TOKEN_SECONDS
from functions.ingest.loader import READ_AHEAD

TRANSPORTS = ("http", "presigned", "s3")

MODULE = Path(__file__).parents[1] / "infra" / "aws"

#: Objects on a page of a listing, and bytes of the log that Aurora writes and asks for as one request.
_LISTED, _IO_BYTES = 1000, 4096


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


@dataclass(frozen=True)
class _Asked:
    """How often one host comes in an hour, and with what: `share` is what a batch has, of that of a minute."""

    batches: float
    uploads: float  # requests for them
    polls: float
    tokens: float
    events: float  # of the queue
    share: float
    looked: float  # thousands of objects that the reconciler looks up
    lists: float

    @classmethod
    def by(cls, transport: str, a: Assumptions, module: Module) -> _Asked:
        batches, days = 3600 / a.upload_every_seconds, module.defaults["reconcile_days"]
        return cls(
            batches=batches,
            uploads=0.0 if transport == "s3" else batches,
            polls=3600 / a.pull_every_seconds,
            tokens=3600 / (TOKEN_SECONDS * 2 / 3),
            events=batches / a.event_batches,
            share=a.upload_every_seconds / 60,
            looked=24 * batches * days / _LISTED,
            lists=1 + days * math.ceil(24 * batches / _LISTED),  # its days, and the pages of those that count
        )


def work(m: Measured, a: Assumptions, module: Module, transport: str) -> Work:
    """The work of one host by this transport. `s3` pulls its configuration from the server all the same.

    Who uploads less often uploads more at once: only requests become fewer, not the work on what is in them.
    """
    asked, answers, load = _Asked.by(transport, a, module), m.answers, _load(m, a)
    invocations, seconds = _functions(m, a, module, asked, transport)
    requests = asked.uploads + asked.polls + asked.tokens
    store_ms = (
        60 * load.store_ms
        + asked.polls * answers.unchanged.store_ms
        + asked.tokens * answers.token.store_ms
        + m.rollup.store_ms
        + asked.looked * m.look_up.store_ms
    )
    past_the_server = 0.0 if transport == "http" else asked.batches / 2  # S3 answers less
    return Work(
        requests=requests,
        invocations=invocations,
        seconds=seconds,
        puts=asked.batches,
        gets=asked.batches,
        lists=asked.lists,
        messages=asked.batches + 2 * asked.events,  # S3 sends each; receiving and deleting ask once for an event
        logged_bytes=requests * a.access_log_bytes
        + sum(invocations.values()) * a.platform_log_bytes
        + asked.batches * m.log_line_bytes,
        sent_bytes=(requests + past_the_server) * a.answer_bytes,
        batches=asked.batches,
        batch_bytes=60 * m.batch_bytes,
        rows=60 * m.rows_a_batch,
        store_seconds=store_ms / a.core / 1000,
        store_bytes_an_hour=60 * (m.rows_a_batch * m.row_bytes + m.record_bytes),
        rollup_bytes_an_hour=m.rollup_bytes,
        ledger_bytes_an_hour=asked.batches * m.ledger_bytes,
        store_requests=max((60 * m.load_wal_bytes + m.rollup_wal_bytes) / _IO_BYTES, asked.events) + asked.tokens,
    )


def _load(m: Measured, a: Assumptions) -> Took:
    """What a minute of a host takes to load."""
    return m.load_singly if a.event_batches < 2 else m.load


def _functions(
    m: Measured, a: Assumptions, module: Module, asked: _Asked, transport: str
) -> tuple[dict[str, float], dict[str, float]]:
    """How often each function runs for one host in an hour, and for how many seconds in all."""
    answers, kept = m.answers, module.defaults["authorizer_cache_seconds"]

    def seconds(function: str, took: Took, waits_ms: float, times: float = 1.0) -> float:
        share = min(1.0, module.memory[function] / a.vcpu_mb)
        return ((took.own_ms / share + took.store_ms) / a.core * times + waits_ms) / 1000

    accepting = (
        seconds("ingest", answers.batch, a.s3_put_ms, asked.share)
        if transport == "http"
        else seconds("ingest", answers.upload, 0)
    )
    authorized = asked.uploads * _missed(kept, a.upload_every_seconds) + asked.polls * _missed(
        kept, a.pull_every_seconds
    )
    loading = seconds("loader", _load(m, a), a.s3_get_ms, asked.share)
    looking = seconds("reconcile", m.look_up, a.read_ms)
    return (
        {
            "authorizer": authorized,
            "ingest": asked.uploads,
            "config": asked.polls,
            "identity": asked.tokens,
            "loader": asked.events,
            "maintenance": 0.0,  # a few in an hour, whatever the fleet
            "reconcile": 0.0,
        },
        {
            "authorizer": authorized * seconds("authorizer", answers.authorize, 0),
            "ingest": asked.uploads * accepting,
            "config": asked.polls * seconds("config", answers.unchanged, a.read_ms),
            "identity": asked.tokens * seconds("identity", answers.token, a.commit_ms),
            "loader": asked.batches * loading + asked.events * a.commit_ms / 1000,
            "maintenance": seconds("maintenance", m.rollup, a.commit_ms * m.targets),
            "reconcile": asked.lists * a.s3_list_ms / 1000 + asked.looked * looking,
        },
    )


def _missed(kept_seconds: float, every_seconds: float) -> float:
    """The share of requests, so far apart, that the authorizer is asked of: its answers are kept for a while."""
    return 1 / (1 + max(kept_seconds - 1, 0) // every_seconds)


def replayed_ms(m: Measured, a: Assumptions) -> float:
    """What a loader that is behind takes for a batch, ten at a time; and a replay. The next are read meanwhile."""
    return max((m.load.own_ms + m.load.store_ms) / a.core + a.commit_ms / 10, a.s3_get_ms / READ_AHEAD)
