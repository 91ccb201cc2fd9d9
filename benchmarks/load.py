"""Loading frames of 1,000 rows of table_stats, from the bytes of a batch to committed rows.

The reference, in the same run: `psql \\copy` of the same rows into the same table, from one finished file, in one
transaction. Both servers' settings are PostgreSQL's defaults, fsync on.
"""

from __future__ import annotations

import functools
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from pydantic import SecretStr
from rich.console import Console
from rich.progress import track
from rich.table import Table

from contracts.batch import Batch, Frame
from contracts.codec import decode, encode, sha256
from contracts.metrics import TABLE_STATS, Type
from contracts.objects import key_of
from functions.ingest.ledger import Arrival
from functions.ingest.load import load
from functions.retention import Retention
from functions.store import Store
from infra.database.migrate import migrate
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres

ROWS, _BATCHES, _ROUNDS, _LOADERS = 1000, 60, 5, (1, 2)

#: Messages in one event of the queue: the default of SQS and of the standalone server.
EVENT = 10


def main() -> None:
    console = Console()
    with embedded_postgres({}) as server:
        migrate(server.dsn())
        _load(server.dsn(), 1)  # makes the day's partitions
        table = Table("loaders", "rows/s", "psql \\copy rows/s", "ratio", "from", "to")
        for loaders in _LOADERS:
            rounds = [
                (_together(server.dsn(), loaders), _psql(server))
                for _ in track(range(_ROUNDS), f"loaders: {loaders}", console=console)
            ]
            ratios = [loaded / copied for loaded, copied in rounds]
            rates = [f"{statistics.median(each):,.0f}" for each in zip(*rounds, strict=True)]
            table.add_row(str(loaders), *rates, *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)))
    console.print(table, f"{len(TABLE_STATS.columns)} columns, {ROWS} rows a batch, {EVENT} batches a commit")


def _together(dsn: str, loaders: int) -> float:
    """Rows a second of so many loaders, each a process of its own as each Lambda is."""
    with ProcessPoolExecutor(loaders, get_context("spawn")) as pool:
        list(pool.map(_load, [dsn] * loaders, [1] * loaders, chunksize=1))  # imports, connections
        spans = list(pool.map(_load, [dsn] * loaders, [_BATCHES] * loaders, chunksize=1))
    return loaders * _BATCHES * ROWS / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def batches(number: int) -> list[bytes]:
    chance, stream, now = random.Random(1), uuid4(), time.time_ns() // 1000
    return [_batch(chance, stream, seq, now) for seq in range(number)]


def _batch(chance: random.Random, stream: UUID, seq: int, now: int) -> bytes:
    def value(type_: Type, row: int) -> int | None:
        match type_:
            case Type.OID:
                return 16384 + row
            case Type.TIMESTAMP:
                return now - chance.randrange(10**10) if chance.random() < 0.3 else None
            case _:
                return chance.randrange(10 ** chance.randrange(1, 9))

    columns = {column.name: [value(column.type, row) for row in range(ROWS)] for column in TABLE_STATS.columns}
    frame = Frame(metric="table_stats", target="main", datid=5, collected_at=now, epoch=1, columns=columns)
    return encode(Batch(agent_id="bench", stream_id=stream, seq=seq, sent_at=now, agent_version="0", frames=(frame,)))


def _load(dsn: str, number: int) -> tuple[float, float]:
    """Loads so many batches; when it began and ended."""
    made, store = batches(number), open_store(dsn)
    begun = time.monotonic()
    for first in range(0, number, EVENT):
        load(store, [arrived(data) for data in made[first : first + EVENT]], Retention(30))
    return begun, time.monotonic()


def arrived(data: bytes) -> Arrival:
    batch, digest = decode(data), sha256(data)
    return Arrival(key_of(batch, digest), bytes.fromhex(digest), batch)


@functools.cache
def open_store(dsn: str) -> Store:
    return Store(SecretStr(dsn), "benchmark")


def _psql(server: EmbeddedPostgres) -> float:
    """Copies out what the round loaded, and times how fast psql copies it in again."""
    file = Path(server.directory) / "rows.txt"
    rows = _BATCHES * ROWS
    server.run(
        "psql", "-Xqd", server.dsn(), "-c", f"\\copy (select * from metric.table_stats limit {rows}) to '{file}'"
    )
    begun = time.perf_counter()
    server.run("psql", "-Xqd", server.dsn(), "-c", f"\\copy metric.table_stats from '{file}'")
    taken = time.perf_counter() - begun
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("truncate metric.table_stats")
    return rows / taken
