"""What a batch costs to load with 1, 10 and 50 million rows of table_stats in the store: it must not grow.

The rows lie in ten days, today among them, as those of many servers with 10,000 tables each; the ledger has a row for
each thousand. Settings are PostgreSQL's defaults, fsync on. It takes some 25 GB of the temporary folder.
"""

from __future__ import annotations

import logging
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.load import EVENT, ROWS, arrived, batches, open_store
from contracts.metrics import TABLE_STATS, Type
from functions.ingest.load import load
from functions.retention import Retention
from infra.database.migrate import migrate
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres

STAGES = (1_000_000, 10_000_000, 50_000_000)

_DAYS, _ROUNDS, _BATCHES = 10, 5, 60

_BYTES_A_ROW = 500  # with its index and its share of the log


@dataclass(frozen=True)
class Cost:
    """Milliseconds a batch: on the clock, and of the processor in the loader and in its PostgreSQL backend."""

    wall: float
    loader: float
    backend: float


def main() -> None:
    console = Console()
    # A day without a partition is nothing to warn of: the loader makes one.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    with embedded_postgres({"max_wal_size": "4GB"}) as server:
        _check_disk(server.directory)
        migrate(server.dsn())
        _rounds(server, 1)  # makes the day's partitions, and warms what is cached
        table = Table("rows in the store", "on disk", "ms a batch", "loader's CPU", "backend's CPU", "ratio", "of CPU")
        first: Cost | None = None
        filled = 0
        for rows in STAGES:
            filled = _fill(server, filled, rows, console)
            cost = _rounds(server, _ROUNDS)
            first = first or cost
            cpu, first_cpu = cost.loader + cost.backend, first.loader + first.backend
            table.add_row(
                f"{rows:,}",
                _size(server),
                *(f"{each:.2f}" for each in (cost.wall, cost.loader, cost.backend)),
                f"{cost.wall / first.wall:.2f}",
                f"{cpu / first_cpu:.2f}",
            )
    console.print(table, f"batches of {ROWS} rows of {len(TABLE_STATS.columns)} columns, {EVENT} a commit")


def _check_disk(folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, STAGES[-1] * _BYTES_A_ROW
    if free < needed:
        sys.exit(
            f"{folder}: {free / 1e9:.0f} GB are free, {needed / 1e9:.0f} GB are needed; set TMPDIR to a larger disk"
        )


def _fill(server: EmbeddedPostgres, present: int, wanted: int, console: Console) -> int:
    """Bring table_stats to so many rows, day by day."""
    statement = sql.SQL(
        "insert into metric.table_stats ({}) select {} from generate_series(%(from)s::bigint, %(to)s) as n"
    ).format(
        sql.SQL(", ").join(sql.Identifier(name) for name, _ in TABLE_STATS.stored),
        sql.SQL(", ").join(_expression(name, type_) for name, type_ in TABLE_STATS.stored),
    )
    a_day = (wanted - present) // _DAYS
    with psycopg.connect(server.dsn(), autocommit=True) as connection, Progress(console=console) as progress:
        task = progress.add_task(f"{wanted:,} rows", total=_DAYS)
        for day in range(_DAYS):
            connection.execute("select store.make_partitions(current_date - %s::integer)", (day,))
            connection.execute(statement, {"day": day, "from": 1, "to": a_day})
            progress.advance(task)
        connection.execute(
            """
            insert into store.ledger
            select 'db-' || n %% 500, gen_random_uuid(), n, sha256(n::text::bytea), now(), now(),
                1000, 'batches/v1/' || n
            from generate_series(%s::bigint, %s) as n
            """,
            (present // 1000 + 1, wanted // 1000),
        )
        connection.execute("vacuum (analyze) metric.table_stats")
    return wanted


def _expression(name: str, type_: Type) -> sql.Composable:
    match name:
        case "target_id":
            return sql.SQL("n / 10000")
        case "collected_at":
            return sql.SQL("current_date - %(day)s::integer + n * interval '1 microsecond'")
        case "relid":
            return sql.SQL("(16384 + n %% 10000)::oid")
    match type_:
        case Type.OID:
            return sql.SQL("5::oid")
        case Type.BOOLEAN:
            return sql.SQL("false")
        case Type.TIMESTAMP:
            return sql.SQL("null")
        case _:
            return sql.SQL("n %% 100000")


def _rounds(server: EmbeddedPostgres, rounds: int) -> Cost:
    costs = [_round(server) for _ in range(rounds)]
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "loader", "backend")))


def _round(server: EmbeddedPostgres) -> Cost:
    store, made = open_store(server.dsn()), batches(_BATCHES)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("checkpoint")  # so that none falls due by what the filling wrote
    with store.transaction() as connection:
        backend = psutil.Process(connection.info.backend_pid)
    before, begun, own = sum(backend.cpu_times()[:2]), time.perf_counter(), time.process_time()
    for first in range(0, _BATCHES, EVENT):
        load(store, [arrived(data) for data in made[first : first + EVENT]], Retention(30))
    wall, loader = time.perf_counter() - begun, time.process_time() - own
    spent = sum(backend.cpu_times()[:2]) - before
    return Cost(*(each / _BATCHES * 1000 for each in (wall, loader, spent)))


def _size(server: EmbeddedPostgres) -> str:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select pg_size_pretty(pg_database_size(current_database()))").fetchone()
    return str(row[0]) if row else ""
