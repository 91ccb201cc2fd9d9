"""What a host costs each part of the server, measured: bytes, rows, seconds of the processor, pages of the store."""

from __future__ import annotations

import gzip
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from statistics import fmean

from pydantic import SecretStr
from rich.console import Console

from benchmarks.answered import Answers, measure_answers
from benchmarks.clock import Clock, Took
from benchmarks.hosts import hours
from benchmarks.load import EVENT
from contracts.codec import decode, sha256
from contracts.objects import key_of
from functions.http import logger
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.ledger import unknown
from functions.ingest.loader import take
from functions.maintenance.partitions import AHEAD_DAYS, BEHIND_DAYS, turn
from functions.maintenance.rollup import roll_up
from functions.retention import Retention
from functions.store import Store
from infra.database.migrate import migrate
from infra.standalone.embedded import embedded_postgres

#: As Aurora writes its log, without images of whole pages; everything else is PostgreSQL's default, fsync on.
_SETTINGS = {"full_page_writes": "off", "max_wal_size": "4GB"}

#: Of an hour, so many minutes are loaded with one message an event.
_MINUTES, _SINGLY = 60, 6

_RETENTION, _FOR_EVER = Retention(30), Retention(3650)

_SIZES = b"""
select
    coalesce(sum(pg_total_relation_size(c.oid)) filter (where c.relname like 'metric\\_%'), 0)::bigint,
    coalesce(sum(pg_total_relation_size(c.oid)) filter (where c.relname like 'store\\_%'), 0)::bigint,
    coalesce(sum(pg_total_relation_size(c.oid)) filter (where c.relname like 'rollup\\_%'), 0)::bigint,
    pg_total_relation_size('store.ledger')
from pg_class c
where c.relnamespace = 'partition'::regnamespace and c.relkind = 'r' and pg_relation_size(c.oid) > 0
"""

_LARGEST = b"""
select i.inhparent::regclass::text, sum(pg_total_relation_size(c.oid))::float8
    / sum(sum(pg_total_relation_size(c.oid))) over ()
from pg_class c
join pg_inherits i on i.inhrelid = c.oid
where c.relnamespace = 'partition'::regnamespace and c.relkind = 'r' and pg_relation_size(c.oid) > 0
    and c.relname not like 'rollup\\_%'
group by 1
order by 2 desc
limit 6
"""

_LOADED = b"select sum(rows)::bigint, (select count(*) from store.target) from store.ledger"
_WAL = b"select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_DAILY = b"select count(*) from store.partition where of_table not like 'rollup.%'"


@dataclass(frozen=True)
class Measured:
    """Of one host with one server on it; what is said of a batch is the mean over an hour of them."""

    hosts: int
    tables: int
    minutes: int
    targets: int
    rows_a_batch: float
    first_batch_bytes: int
    batch_bytes: float
    inflated_bytes: float
    answers: Answers
    load: Took  # a batch, ten an event
    load_singly: Took  # a batch, one an event
    load_wal_bytes: float
    log_line_bytes: float  # what the loader writes of a batch
    row_bytes: float  # of a metric, with its index
    largest: Mapping[str, float]  # tables, and their share of the bytes of a batch
    record_bytes: float  # runs and frames of a batch
    ledger_bytes: float  # a batch
    rollup: Took  # an hour of a host
    rollup_rows: float
    rollup_bytes: float
    rollup_wal_bytes: float
    partitions_a_day: float
    make_day: Took
    drop_partition: Took
    look_up: Took  # a thousand objects, as the reconciler looks them up


def measure(sampled: Sequence[bytes], hosts: int, tables: int, console: Console) -> Measured:
    """Load an hour of so many hosts like the one that was sampled, roll it up, and drop it."""
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # a table that is not there yet is nothing to warn of
    with embedded_postgres(_SETTINGS) as server, tempfile.TemporaryDirectory(prefix="pganalytics-") as name:
        migrate(server.dsn())
        store, bucket, now = Store(SecretStr(server.dsn()), "benchmark"), DirectoryBucket(Path(name)), datetime.now(UTC)
        try:
            clock = Clock.of(store)
            make_day = clock.took(1 + BEHIND_DAYS + AHEAD_DAYS, lambda: turn(store, now, _RETENTION, _unhurried))
            (partitions,) = _asked(store, _DAILY)
            begin = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
            bodies = list(hours(sampled, hosts, _MINUTES, int(begin.timestamp()) * 1_000_000))
            keys = _put(bucket, bodies)
            console.print(f"loading {len(keys):,} batches of {hosts} hosts")
            ten, singly = keys[: -_SINGLY * hosts], keys[-_SINGLY * hosts :]
            with _heard() as lines:
                take(ten[:EVENT], bucket, store, _RETENTION)  # plans and caches
                (before,) = _asked(store, _WAL)
                load = clock.took(len(ten) - EVENT, lambda: _load(ten[EVENT:], EVENT, bucket, store))
                (after,) = _asked(store, _WAL)
                load_singly = clock.took(len(singly), lambda: _load(singly, 1, bucket, store))
            look_up = clock.took(10, lambda: [unknown(store, (keys * 1000)[:1000]) for _ in range(10)])
            rows, targets = _asked(store, _LOADED)
            console.print(f"rolling up an hour of {targets} targets")
            rollup, rolled_up, rollup_wal = _roll_up(store, clock, hosts)
            metric_bytes, record_bytes, rollup_bytes, ledger_bytes = _asked(store, _SIZES)
            with store.transaction() as connection:
                largest = dict(connection.execute(_LARGEST).fetchall())
            console.print("asking the functions that answer")
            answers = measure_answers(server.dsn(), Path(name), bodies[-hosts * _SINGLY :])
            drop_partition = _drop(store, clock, now)
        finally:
            store.close()
    return Measured(
        hosts=hosts,
        tables=tables,
        minutes=len(sampled),
        targets=round(targets / hosts),
        rows_a_batch=rows / len(keys),
        first_batch_bytes=len(sampled[0]),
        batch_bytes=fmean(map(len, bodies)),
        inflated_bytes=fmean(len(gzip.decompress(body)) for body in bodies[::hosts]),
        answers=answers,
        load=load,
        load_singly=load_singly,
        load_wal_bytes=(after - before) / (len(ten) - EVENT),
        log_line_bytes=len(lines.getvalue()) / len(keys),
        row_bytes=metric_bytes / rows,
        largest=largest,
        record_bytes=record_bytes / len(keys),
        ledger_bytes=ledger_bytes / len(keys),
        rollup=rollup,
        rollup_rows=rolled_up / hosts,
        rollup_bytes=rollup_bytes / hosts,
        rollup_wal_bytes=rollup_wal / hosts,
        partitions_a_day=partitions / (1 + BEHIND_DAYS + AHEAD_DAYS),
        make_day=make_day,
        drop_partition=drop_partition,
        look_up=look_up,
    )


def _put(bucket: DirectoryBucket, bodies: Sequence[bytes]) -> list[str]:
    keys = [str(key_of(decode(body), sha256(body))) for body in bodies]
    for key, body in zip(keys, bodies, strict=True):
        bucket.create(key, body)
    return keys


def _load(keys: Sequence[str], event: int, bucket: DirectoryBucket, store: Store) -> None:
    for first in range(0, len(keys), event):
        if failed := take(keys[first : first + event], bucket, store, _RETENTION):
            raise next(iter(failed.values()))


def _roll_up(store: Store, clock: Clock, hosts: int) -> tuple[Took, int, int]:
    """What an hour of a host took; the rows that were made, and the bytes of the log."""
    rows = 0

    def work() -> None:
        nonlocal rows
        while (done := roll_up(store, datetime.now(UTC), _RETENTION, 3600.0, _unhurried)).hours:
            rows += done.rows

    (before,) = _asked(store, _WAL)
    took = clock.took(hosts, work)
    (after,) = _asked(store, _WAL)
    return took, rows, after - before


def _drop(store: Store, clock: Clock, now: datetime) -> Took:
    """What the dropping of a partition takes; those with the hour that was loaded are among them."""
    later = now + timedelta(days=30 + AHEAD_DAYS + 2)
    (before,) = _asked(store, _DAILY)
    turn(store, later, _FOR_EVER, _unhurried)  # makes those that are needed by then
    dropped = 0

    def work() -> None:
        nonlocal dropped
        dropped = len(turn(store, later, _RETENTION, _unhurried).dropped)

    took = clock.took(before, work)
    if dropped != before:
        raise RuntimeError(f"{dropped} partitions of {before} were dropped")
    return took


def _unhurried() -> float:
    return 900.0


def _asked(store: Store, query: bytes) -> tuple[int, ...]:
    with store.transaction() as connection:
        row = connection.execute(query).fetchone()
    if row is None:
        raise RuntimeError("the store answered nothing")
    return tuple(int(each or 0) for each in row)


@contextmanager
def _heard() -> Iterator[StringIO]:
    """What the functions write into their log, in the place of standard output."""
    heard = StringIO()
    handlers = [each for each in logger.handlers if isinstance(each, logging.StreamHandler)]
    streams = [each.setStream(heard) for each in handlers]
    try:
        yield heard
    finally:
        for each, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                each.setStream(stream)
