"""The reference for a whole cycle: Debian's prometheus-postgres-exporter over tables, indexes, sizes, statements."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.server import DATABASE
from infra.standalone.embedded import EmbeddedPostgres, free_port

PROGRAM = "prometheus-postgres-exporter"

_QUERIES = """
table_stats:
  query: >-
    select relid::text, schemaname, relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_ins, n_tup_upd,
    n_tup_del, n_tup_hot_upd, n_live_tup, n_dead_tup, vacuum_count, autovacuum_count, analyze_count, autoanalyze_count
    from pg_stat_user_tables
  metrics: [relid: {usage: LABEL}, schemaname: {usage: LABEL}, relname: {usage: LABEL}, TABLE_COUNTERS]
table_io:
  query: >-
    select relid::text, heap_blks_read, heap_blks_hit, idx_blks_read, idx_blks_hit from pg_statio_user_tables
  metrics: [relid: {usage: LABEL}, heap_blks_read: {usage: COUNTER}, heap_blks_hit: {usage: COUNTER},
    idx_blks_read: {usage: COUNTER}, idx_blks_hit: {usage: COUNTER}]
table_size:
  query: "select relid::text, pg_total_relation_size(relid) as size_bytes from pg_stat_user_tables"
  metrics: [relid: {usage: LABEL}, size_bytes: {usage: GAUGE}]
index_stats:
  query: >-
    select indexrelid::text, relname, indexrelname, idx_scan, idx_tup_read, idx_tup_fetch from pg_stat_user_indexes
  metrics: [indexrelid: {usage: LABEL}, relname: {usage: LABEL}, indexrelname: {usage: LABEL},
    idx_scan: {usage: COUNTER}, idx_tup_read: {usage: COUNTER}, idx_tup_fetch: {usage: COUNTER}]
statements:
  query: >-
    select queryid::text, dbid::text, userid::text, calls, total_exec_time, rows, shared_blks_hit, shared_blks_read,
    shared_blks_dirtied, shared_blks_written, temp_blks_read, temp_blks_written, wal_records, wal_bytes
    from pg_stat_statements
  metrics: [queryid: {usage: LABEL}, dbid: {usage: LABEL}, userid: {usage: LABEL}, STATEMENT_COUNTERS]
"""
_TABLES = (
    "seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins n_tup_upd n_tup_del n_tup_hot_upd n_live_tup n_dead_tup "
    "vacuum_count autovacuum_count analyze_count autoanalyze_count"
)
_STATEMENTS = (
    "calls total_exec_time rows shared_blks_hit shared_blks_read shared_blks_dirtied shared_blks_written "
    "temp_blks_read temp_blks_written wal_records wal_bytes"
)


@dataclass(frozen=True)
class Scrape:
    """What one costs: processor time of the exporter and of its backends, bytes gzipped, the exporter's memory."""

    own_ms: float
    backend_ms: float
    sent_bytes: int
    rss_bytes: int


@contextmanager
def exporter(server: EmbeddedPostgres) -> Iterator[Exporter | None]:
    """One that watches the server; None where it is not installed."""
    if shutil.which(PROGRAM) is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        queries = Path(folder) / "queries.yaml"
        queries.write_text(
            _QUERIES.replace("TABLE_COUNTERS", _counters(_TABLES)).replace("STATEMENT_COUNTERS", _counters(_STATEMENTS))
        )
        port = free_port()
        address = f"postgresql://postgres@:{server.port}/{DATABASE}?host={server.directory}&sslmode=disable"
        process = subprocess.Popen(
            [PROGRAM, f"--web.listen-address=127.0.0.1:{port}", f"--extend.query-path={queries}", "--log.level=error"],
            env={**os.environ, "DATA_SOURCE_NAME": address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Exporter(process, port, server)
        finally:
            process.terminate()
            process.wait(30)


class Exporter:
    def __init__(self, process: subprocess.Popen[bytes], port: int, server: EmbeddedPostgres) -> None:
        self._process = psutil.Process(process.pid)
        self._address = f"http://127.0.0.1:{port}/metrics"
        self._server = psutil.Process(server.pid)
        deadline = time.monotonic() + 30
        while True:
            try:
                self._get()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def scrape(self) -> Scrape:
        own, backends = self._cpu_seconds(self._process), self._backends()
        sent = self._get()
        own_ms = (self._cpu_seconds(self._process) - own) * 1000
        return Scrape(own_ms, (self._backends() - backends) * 1000, len(sent), self._process.memory_info().rss)

    def _get(self) -> bytes:
        request = urllib.request.Request(self._address, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def _backends(self) -> float:
        """Of all the server's processes: a backend that ended is counted with the postmaster's dead children."""
        times = self._server.cpu_times()
        living = sum(self._cpu_seconds(child) for child in self._server.children(recursive=True))
        return living + times.children_user + times.children_system

    @staticmethod
    def _cpu_seconds(process: psutil.Process) -> float:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)


def _counters(names: str) -> str:
    return ", ".join(f"{name}: {{usage: COUNTER}}" for name in names.split())
