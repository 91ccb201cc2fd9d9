"""Loading frames of 1,000 rows of table_stats, from the bytes of a batch to committed rows.

The reference, in the same run: `psql \\copy` of the same rows into the same table, from one finished file, in one
transaction. Both servers' settings are PostgreSQL's defaults, fsync on.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from pydantic import SecretStr
from rich.console import Console
from rich.progress import track

from contracts.batch import Batch, Frame
from contracts.codec import decode, encode, sha256
from contracts.metrics import TABLE_STATS, Type
from contracts.objects import key_of
from functions.ingest.load import load
from functions.store import Store
from infra.database.migrate import migrate
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres

_ROWS, _BATCHES, _ROUNDS = 1000, 60, 5


def main() -> None:
    console = Console()
    ratios, rates, references = [], [], []
    with embedded_postgres({}) as server:
        migrate(server.dsn())
        store = Store(SecretStr(server.dsn()), "benchmark")
        _load(store, _batches(1))  # makes the day's partitions
        for _ in track(range(_ROUNDS), "loading", console=console):
            loaded = _load(store, _batches(_BATCHES))
            copied = _psql(server)
            rates.append(loaded)
            references.append(copied)
            ratios.append(loaded / copied)
        store.close()
    console.print(
        f"load: {statistics.median(rates):,.0f} rows/s, psql \\copy: {statistics.median(references):,.0f} rows/s, "
        f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f}), "
        f"{len(TABLE_STATS.columns)} columns, {_ROWS} rows a commit"
    )


def _batches(number: int) -> list[bytes]:
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

    columns = {column.name: [value(column.type, row) for row in range(_ROWS)] for column in TABLE_STATS.columns}
    frame = Frame(metric="table_stats", target="main", datid=5, collected_at=now, epoch=1, columns=columns)
    return encode(Batch(agent_id="bench", stream_id=stream, seq=seq, sent_at=now, agent_version="0", frames=(frame,)))


def _load(store: Store, batches: list[bytes]) -> float:
    begun = time.perf_counter()
    for data in batches:
        batch, digest = decode(data), sha256(data)
        load(store, batch, key_of(batch, digest), bytes.fromhex(digest), 30)
    return len(batches) * _ROWS / (time.perf_counter() - begun)


def _psql(server: EmbeddedPostgres) -> float:
    """Copies out what the round loaded, and times how fast psql copies it in again."""
    file = Path(server.directory) / "rows.txt"
    rows = _BATCHES * _ROWS
    server.run(
        "psql", "-Xqd", server.dsn(), "-c", f"\\copy (select * from metric.table_stats limit {rows}) to '{file}'"
    )
    begun = time.perf_counter()
    server.run("psql", "-Xqd", server.dsn(), "-c", f"\\copy metric.table_stats from '{file}'")
    taken = time.perf_counter() - begun
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("truncate metric.table_stats")
    return rows / taken
