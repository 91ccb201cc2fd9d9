"""What an agent with default settings takes of a host on which nothing happens: 1,000 tables, ten minutes."""

from __future__ import annotations

import threading

import psutil
import psycopg
from rich.console import Console
from rich.progress import track

from benchmarks.agent import cpu_seconds, running_agent, taker
from benchmarks.server import TABLES, many_tables
from contracts.document import Document

_SECONDS, _EVERY = 600, 2

# The time of this benchmark's own sessions stands with its own database.
_DATABASE_US = b"""
select coalesce(sum(active_time) * 1000, 0)::bigint from pg_catalog.pg_stat_database where datname <> 'onlooker'
"""

_CONNECTIONS = b"""
select count(*) from pg_catalog.pg_stat_activity where application_name = 'pganalytics-agent'
"""


def main() -> None:
    console = Console()
    with many_tables() as server, taker(Document()) as (url, taken):
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("create database onlooker")
        with psycopg.connect(server.dsn("onlooker"), autocommit=True) as onlooker:

            def asked(query: bytes) -> int:
                row = onlooker.execute(query).fetchone()
                return int(row[0]) if row else 0

            before = asked(_DATABASE_US)
            with running_agent(server, url) as process:
                running, rss, connections, cpu = psutil.Process(process.pid), [], [], []
                for _ in track(range(_SECONDS // _EVERY), "waiting", console=console):
                    threading.Event().wait(_EVERY)
                    rss.append(running.memory_info().rss)
                    connections.append(asked(_CONNECTIONS))
                    cpu.append(cpu_seconds(running))
            # Sessions that have ended have told all of their time.
            database_us = asked(_DATABASE_US) - before
    console.print(
        f"{TABLES:,} tables, {_SECONDS} s, from the start of the agent, defaults\n"
        f"processor: {cpu[-1]:.2f} s, {cpu[-1] / _SECONDS:.2%} of a core, of which {cpu[4]:.2f} s in the first ten\n"
        f"RSS: {rss[-1] / 1e6:.1f} MB, most {max(rss) / 1e6:.1f} MB\n"
        f"connections: {max(connections)} at most; database: {database_us / 1000:.0f} ms,"
        f" {database_us / _SECONDS / 1e6:.3%} of a session\n"
        f"sent: {sum(taken) / 1000:.1f} KB in {len(taken)} batches, of which the first {taken[0] / 1000:.1f} KB"
    )
