"""A real agent process with every metric on, each read every second: its memory over 100 cycles, its processor time.

It watches 1,000 tables and 3,000 indexes, a fifth touched each second, and sends to a server that takes everything.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track

from benchmarks.server import DATABASE, TABLES, TOUCHED, many_tables, touch
from contracts.document import MOST_ROWS, BudgetSettings, Document, MetricSettings, VersionedDocument
from contracts.metrics import METRICS, Scope
from infra.standalone.embedded import EmbeddedPostgres

_CYCLES = 100

Metrics = dict[str, MetricSettings]


def main() -> None:
    console = Console()
    _run(console, TABLES, _CYCLES, dict.fromkeys((metric.name for metric in METRICS), MetricSettings(every_seconds=1)))


def relations() -> None:
    """The same over 100,000 relations, with caps that let all of them in; one in a hundred is touched."""
    every = MetricSettings(every_seconds=5, at_most=MOST_ROWS)
    off = MetricSettings(enabled=False)
    names = {metric.name for metric in METRICS if metric.scope is Scope.DATABASE and metric.name != "bloat"}
    _run(
        Console(), 25_000, 20, {metric.name: every if metric.name in names else off for metric in METRICS}, touched=250
    )


def _run(console: Console, tables: int, cycles: int, metrics: Metrics, touched: int = TOUCHED) -> None:
    every = max(settings.every_seconds or 1 for settings in metrics.values())
    unbounded = BudgetSettings(cpu_share=None, database_share=None, upload_bytes_per_hour=None)
    document = Document(upload_every_seconds=1, metrics=metrics, budget=unbounded, statement_timeout_ms=60_000)
    with many_tables(tables=tables) as server, taker(document) as (url, taken), running_agent(server, url) as process:
        running = psutil.Process(process.pid)
        while len(taken) < 2:
            time.sleep(0.1)
            running.status()  # raises once the agent has ended
        rss, cpu = [], [cpu_seconds(running)]
        for _ in track(range(cycles), "cycles", console=console):
            touch(server, touched)
            time.sleep(every)
            rss.append(running.memory_info().rss)
            cpu.append(cpu_seconds(running))
    settled = cycles // 5
    console.print(
        f"{tables:,} tables with {3 * tables:,} indexes, {touched} touched a cycle; "
        f"metrics: {sum(each.enabled is not False for each in metrics.values())}\n"
        f"RSS after {cycles} cycles: {rss[-1] / 1e6:.1f} MB, most {max(rss) / 1e6:.1f} MB; "
        f"growth from cycle {settled}: {(rss[-1] - rss[settled]) / 1e6:+.2f} MB\n"
        f"processor time: {(cpu[-1] - cpu[settled]) / (cycles - settled) * 1000:.1f} ms a cycle; "
        f"sent: {len(taken)} batches, the largest {max(taken) / 1000:.1f} KB, "
        f"the median {statistics.median(taken) / 1000:.1f} KB"
    )


@contextmanager
def taker(document: Document, kept: list[bytes] | None = None) -> Iterator[tuple[str, list[int]]]:
    """A server that takes every batch and gives the document; the bytes of what it took, which `kept` gets as well."""
    taken: list[int] = []
    body = VersionedDocument(version=1, document=document).model_dump_json().encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(304 if self.headers["If-None-Match"] else 200, body)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(len(content))
            if kept is not None:
                kept.append(content)
            self._answer(202, b"{}")

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(0 if status == 304 else len(content)))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if status != 304:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


@contextmanager
def running_agent(server: EmbeddedPostgres, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """An agent that watches this server and the host, and sends there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "token").write_text("nobody-asks-for-it")
        settings = folder / "agent.toml"
        settings.write_text(
            f"""
agent_id = "bench"
state_directory = {json.dumps(f"{folder}/state")}
[server]
url = "{url}"
token_file = {json.dumps(f"{folder}/token")}
[[targets]]
name = "main"
dsn = {json.dumps(server.dsn(DATABASE))}
"""
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.main", "run", "-c", str(settings)],
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # as its unit has it
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def cpu_seconds(process: psutil.Process) -> float:
    """The processor time that a process has had."""
    times = process.cpu_times()
    return float(times.user + times.system)
