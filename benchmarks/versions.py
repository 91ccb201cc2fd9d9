"""A whole cycle, every metric that is due each minute or more often, on PostgreSQL 14 to 18.

The reference, in the same run: a scrape of Debian's prometheus-postgres-exporter, where that is installed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.progress import track
from rich.table import Table

from agent.changes import Changes
from agent.collectors.collector import Collector
from agent.outbox import Outbox
from agent.settings import TargetSettings
from agent.targets.server import ServerTarget
from benchmarks.cycle import Cost
from benchmarks.exporter import PROGRAM, Scrape, exporter
from benchmarks.server import DATABASE, many_tables, touch
from contracts.batch import Batch
from contracts.codec import encode, inflate
from contracts.document import DatabaseSettings, Document
from tests.matrix.servers import LOCKS, UnavailableError, installation

_CYCLES, _SCRAPES = 20, 5
_DOCUMENT = Document(databases=DatabaseSettings(include=(DATABASE,)), statement_timeout_ms=60_000)


def main() -> None:
    console = Console()
    table = Table("PostgreSQL", "metrics", "agent ms", "backends ms", "sent KB", "exporter ms", "its backends ms")
    for heading in ("its sent KB", "its RSS MB", "CPU ratio", "bytes ratio"):
        table.add_column(heading)
    for major in sorted(LOCKS):
        try:
            place = installation(major)
        except UnavailableError as error:
            console.print(f"PostgreSQL {major} left out: {error}")
            continue
        metrics, cycles, scrapes = _measured(place, console)
        table.add_row(str(major), str(metrics), *_row(cycles, scrapes))
    console.print(table, f"1,000 tables, 3,000 indexes, 2,000 statements, a fifth touched; medians of {_CYCLES} cycles")
    console.print(f"ratio: reference / agent; - where {PROGRAM} is not installed")


def _measured(place: Path, console: Console) -> tuple[int, list[Cost], list[Scrape]]:
    with many_tables(place) as server:
        outbox = Outbox()
        target = ServerTarget(TargetSettings(name="main", dsn=server.dsn(DATABASE)), Changes(), outbox)
        target.apply(_DOCUMENT)
        due = [each for each in target.collectors() if (_DOCUMENT.interval(each.metric.name) or 3600) <= 60]
        cycles = []
        for _ in track(range(_CYCLES + 1), f"PostgreSQL {place.name}", console=console):
            touch(server)
            cycles.append(_cycle(target, due, outbox))
        target.close()
        scrapes = []
        with exporter(server) as other:
            for _ in range(_SCRAPES if other else 0):
                touch(server)
                assert other is not None
                scrapes.append(other.scrape())
    return len(due), cycles[1:], scrapes


def _cycle(target: ServerTarget, due: list[Collector], outbox: Outbox) -> Cost:
    backends, own = _backends(target), time.thread_time()
    for collector in due:
        target.collect(collector)
    contents = outbox.take()
    sent = encode(
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
    agent_ms = (time.thread_time() - own) * 1000
    return Cost(agent_ms, (_backends(target) - backends) * 1000, len(inflate(sent)), len(sent))


def _backends(target: ServerTarget) -> float:
    sessions = (target._cluster, target._roving)  # noqa: SLF001 - nobody but a benchmark asks
    pids = [each._connection.info.backend_pid for each in sessions if each._connection is not None]  # noqa: SLF001
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def _row(cycles: list[Cost], scrapes: list[Scrape]) -> list[str]:
    agent, backend = _median(c.agent_ms for c in cycles), _median(c.backend_ms for c in cycles)
    sent = _median(c.sent_bytes for c in cycles)
    row = [f"{agent:.1f}", f"{backend:.1f}", f"{sent / 1000:.1f}"]
    if not scrapes:
        return [*row, *["-"] * 6]
    own, backends = _median(s.own_ms for s in scrapes), _median(s.backend_ms for s in scrapes)
    theirs, rss = _median(s.sent_bytes for s in scrapes), _median(s.rss_bytes for s in scrapes)
    shown = [f"{own:.0f}", f"{backends:.0f}", f"{theirs / 1000:.0f}", f"{rss / 1e6:.0f}"]
    return [*row, *shown, f"{(own + backends) / (agent + backend):.1f}", f"{theirs / sent:.0f}"]


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))
