"""A real agent process with every metric on, each read every second: its memory over 100 cycles, its processor time.

It watches 1,000 tables and 3,000 indexes, a fifth touched each second, and sends to a server that takes everything.
"""

from __future__ import annotations

import json
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

from benchmarks.server import DATABASE, many_tables, touch
from contracts.document import Document, MetricSettings, VersionedDocument
from contracts.metrics import METRICS
from infra.standalone.embedded import EmbeddedPostgres

_CYCLES, _SETTLED = 100, 20


def main() -> None:
    console = Console()
    with many_tables() as server, _taker() as (url, taken), _agent(server, url) as process:
        running = psutil.Process(process.pid)
        while len(taken) < 2:
            time.sleep(0.1)
            running.status()  # raises once the agent has ended
        rss, cpu = [], [_cpu_seconds(running)]
        for _ in track(range(_CYCLES), "cycles", console=console):
            touch(server)
            time.sleep(1)
            rss.append(running.memory_info().rss)
            cpu.append(_cpu_seconds(running))
    console.print(
        f"RSS after {_CYCLES} cycles of {len(METRICS)} metrics: {rss[-1] / 1e6:.1f} MB, most {max(rss) / 1e6:.1f} MB; "
        f"growth from cycle {_SETTLED}: {(rss[-1] - rss[_SETTLED]) / 1e6:+.2f} MB\n"
        f"processor time: {(cpu[-1] - cpu[_SETTLED]) / (_CYCLES - _SETTLED) * 1000:.1f} ms a cycle; "
        f"sent: {len(taken)} batches, {sum(taken[2:]) / len(taken[2:]) / 1000:.1f} KB each"
    )


@contextmanager
def _taker() -> Iterator[tuple[str, list[int]]]:
    """A server that takes every batch and gives the document; the bytes of what it took."""
    taken: list[int] = []
    every = MetricSettings(every_seconds=1)
    document = Document(upload_every_seconds=1, metrics={metric.name: every for metric in METRICS})
    body = VersionedDocument(version=1, document=document).model_dump_json().encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(304 if self.headers["If-None-Match"] else 200, body)

        def do_POST(self) -> None:
            taken.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
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
def _agent(server: EmbeddedPostgres, url: str) -> Iterator[subprocess.Popen[bytes]]:
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
            [sys.executable, "-m", "agent.main", "run", "-c", str(settings)], stderr=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
