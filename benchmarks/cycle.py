"""One cycle of table and index statistics over 1,000 tables and 3,000 indexes: what it costs agent and server.

The reference, in the same run: selecting pg_stat_user_tables, pg_statio_user_tables and pg_stat_user_indexes and
encoding all rows with json and zlib, as a monitor does that knows no better.
"""

from __future__ import annotations

import gzip
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.outbox import Outbox
from agent.settings import TargetSettings
from agent.targets.server import ServerTarget
from benchmarks.server import DATABASE, many_tables, touch
from contracts.batch import Batch
from contracts.codec import encode
from contracts.document import DatabaseSettings, Document
from contracts.metrics import INDEX_STATS, TABLE_STATS

_CYCLES = 100
_COLLECTORS = [each for each in COLLECTORS if isinstance(each, Query) and each.metric in {TABLE_STATS, INDEX_STATS}]
_REFERENCE = ("pg_stat_user_tables", "pg_statio_user_tables", "pg_stat_user_indexes")


@dataclass(frozen=True)
class Cost:
    """Of one cycle: processor time here and in the backend, in milliseconds; bytes before and after compression."""

    agent_ms: float
    backend_ms: float
    raw_bytes: int
    sent_bytes: int


def main() -> None:
    console = Console()
    with many_tables() as server:
        outbox = Outbox()
        changes = Changes()
        target = ServerTarget(TargetSettings(name="main", dsn=server.dsn(DATABASE)), changes, outbox)
        target.apply(Document(databases=DatabaseSettings(include=(DATABASE,)), statement_timeout_ms=60_000))
        full, changed = [], []
        target.collect(_COLLECTORS[0])  # connects
        outbox.take()
        for cycle in track(range(_CYCLES), "cycles", console=console):
            if cycle % 20 == 0:
                changes.forget()
                full.append(_measured(_backend_of(target), lambda: _cycle(target, outbox)))
            else:
                touch(server)
                changed.append(_measured(_backend_of(target), lambda: _cycle(target, outbox)))
        target.close()
        with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
            pid = connection.info.backend_pid
            reference = [_measured(pid, lambda: _views(connection)) for _ in range(10)]
    _print(
        console, {"full": full[1:], "changed, 20 % touched": changed[1:], "reference: views, json, zlib": reference[1:]}
    )


def _cycle(target: ServerTarget, outbox: Outbox) -> bytes:
    for collector in _COLLECTORS:
        target.collect(collector)
    contents = outbox.take()
    return encode(
        Batch.model_construct(
            schema_=1,
            agent_id="bench",
            stream_id=uuid4(),
            seq=0,
            sent_at=time.time_ns() // 1000,
            agent_version="0",
            frames=contents.frames,
            runs=contents.runs,
        )
    )


def _views(connection: psycopg.Connection) -> bytes:
    found = {}
    for view in _REFERENCE:
        cursor = connection.execute(sql.SQL("select * from {}").format(sql.Identifier(view)))
        names = [column.name for column in cursor.description or ()]
        found[view] = [dict(zip(names, row, strict=True)) for row in cursor]
    return gzip.compress(json.dumps(found, default=str).encode(), 6)


def _measured(backend_pid: int, work: Callable[[], bytes]) -> Cost:
    backend, own = _cpu_seconds(backend_pid), time.thread_time()
    sent = work()
    agent_ms = (time.thread_time() - own) * 1000
    return Cost(agent_ms, (_cpu_seconds(backend_pid) - backend) * 1000, len(gzip.decompress(sent)), len(sent))


def _backend_of(target: ServerTarget) -> int:
    connection = target._roving._connection  # noqa: SLF001 - nobody but a benchmark asks
    if connection is None:
        raise RuntimeError("the target is not connected")
    return connection.info.backend_pid


def _cpu_seconds(pid: int) -> float:
    # In nanoseconds, where the times of /proc/PID/stat are in hundredths of a second.
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _print(console: Console, costs: dict[str, list[Cost]]) -> None:
    table = Table("cycle", "agent CPU ms", "backend CPU ms", "raw KB", "sent KB", "CPU / reference", "sent / reference")
    reference = _medians(costs["reference: views, json, zlib"])
    for name, each in costs.items():
        median = _medians(each)
        cpu = (median.agent_ms + median.backend_ms) / (reference.agent_ms + reference.backend_ms)
        table.add_row(
            name,
            f"{median.agent_ms:.1f}",
            f"{median.backend_ms:.1f}",
            f"{median.raw_bytes / 1e3:.1f}",
            f"{median.sent_bytes / 1e3:.1f}",
            f"{cpu:.3f}",
            f"{median.sent_bytes / reference.sent_bytes:.3f}",
        )
    console.print(table)


def _medians(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.agent_ms for cost in costs),
        statistics.median(cost.backend_ms for cost in costs),
        int(statistics.median(cost.raw_bytes for cost in costs)),
        int(statistics.median(cost.sent_bytes for cost in costs)),
    )
