"""One cycle of table and index statistics over 1,000 tables and 3,000 indexes: what it costs agent and server.

The reference, in the same run: selecting pg_stat_user_tables, pg_statio_user_tables and pg_stat_user_indexes and
encoding all rows with json and zlib, as a monitor does that knows no better.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import psutil
import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.outbox import Outbox
from agent.settings import TargetSettings
from agent.targets.server import ServerTarget
from contracts.batch import Batch
from contracts.codec import encode
from contracts.document import DatabaseSettings, Document
from contracts.metrics import INDEX_STATS, TABLE_STATS
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres

_TABLES, _TOUCHED, _CYCLES = 1000, 200, 100
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
    with embedded_postgres({**THROWAWAY, "max_locks_per_transaction": "1024", "autovacuum": "off"}) as server:
        _fill(server)
        outbox = Outbox()
        changes = Changes()
        target = ServerTarget(TargetSettings(name="main", dsn=server.dsn("bench")), changes, outbox, None)
        target.apply(Document(databases=DatabaseSettings(include=("bench",)), statement_timeout_ms=60_000))
        full, changed, rss = [], [], []
        for cycle in track(range(_CYCLES), "cycles", console=console):
            if cycle % 20 == 0:
                changes.forget()
                full.append(_measured(server, lambda: _cycle(target, outbox)))
            else:
                _touch(server)
                changed.append(_measured(server, lambda: _cycle(target, outbox)))
            rss.append(psutil.Process().memory_info().rss)
        target.close()
        with psycopg.connect(server.dsn("bench"), autocommit=True) as connection:
            reference = [_measured(server, lambda: _views(connection), "reference") for _ in range(10)]
    _print(
        console, {"full": full[1:], "changed, 20 % touched": changed[1:], "reference: views, json, zlib": reference[1:]}
    )
    console.print(
        f"RSS after {_CYCLES} cycles {rss[-1] / 1e6:.1f} MB (this process has the benchmark's own parts besides); "
        f"growth from cycle 20 to {_CYCLES}: {(rss[-1] - rss[20]) / 1e6:+.2f} MB"
    )


def _fill(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create database bench")
    with psycopg.connect(server.dsn("bench"), autocommit=True) as connection:
        connection.execute(
            """
            do $$ begin
                for i in 1..1000 loop
                    execute format('create table t%s (a int primary key, b int, c text)', i);
                    execute format('create index on t%s (b)', i);
                    execute format('create index on t%s (c)', i);
                    execute format('insert into t%s values (1, 1, ''x'')', i);
                end loop;
            end $$
            """
        )


def _touch(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn("bench"), autocommit=True) as connection:
        connection.execute(
            f"do $$ begin for i in 1..{_TOUCHED} loop "
            "execute format('update t%s set b = b + 1 where a = 1', i); end loop; end $$"
        )


def _cycle(target: ServerTarget, outbox: Outbox) -> tuple[int, int]:
    for collector in _COLLECTORS:
        target.collect(collector)
    contents = outbox.take()
    batch = Batch.model_construct(
        schema_=1,
        agent_id="bench",
        stream_id=uuid4(),
        seq=0,
        sent_at=time.time_ns() // 1000,
        agent_version="0",
        frames=contents.frames,
        runs=contents.runs,
    )
    return len(batch.model_dump_json(by_alias=True, exclude_none=True)), len(encode(batch))


def _views(connection: psycopg.Connection) -> tuple[int, int]:
    found = {}
    for view in _REFERENCE:
        cursor = connection.execute(f"select * from {view}")
        names = [column.name for column in cursor.description or ()]
        found[view] = [dict(zip(names, row, strict=True)) for row in cursor]
    raw = json.dumps(found, default=str).encode()
    return len(raw), len(zlib.compress(raw, 6))


def _measured(server: EmbeddedPostgres, work: Callable[[], tuple[int, int]], kind: str = "agent") -> Cost:
    backend = _backend_seconds(server, kind)
    own = resource.getrusage(resource.RUSAGE_THREAD)
    raw, sent = work()
    after = resource.getrusage(resource.RUSAGE_THREAD)
    seconds = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
    # The batch is encoded twice to have its size before compression; the second time is not the agent's.
    return Cost(seconds * 1000, (_backend_seconds(server, kind) - backend) * 1000, raw, sent)


def _backend_seconds(server: EmbeddedPostgres, kind: str) -> float:
    # The agent's one session and the reference's are the only backends that outlive a cycle.
    found = 0.0
    for child in psutil.Process(server.pid).children():
        command = " ".join(child.cmdline())
        if " bench " in command and kind:
            times = child.cpu_times()
            found += times.user + times.system
    return found


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
        # The kernel counts a backend's time in hundredths of a second: the mean tells more than the median.
        statistics.mean(cost.backend_ms for cost in costs),
        int(statistics.median(cost.raw_bytes for cost in costs)),
        int(statistics.median(cost.sent_bytes for cost in costs)),
    )
