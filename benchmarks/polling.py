"""10,000 agents ask for their configuration: each once a minute with its ETag, then as fast as it goes.

They share some connections (TLS 1.3) to the standalone server, whose store has a document of the fleet, 20 groups, and
labels of every agent. The reference, in the same run and against the same store: an ASGI application on the same
uvicorn that does a bare `select 1` for each request. Then the function alone, without server and authorizer.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import psutil
import psycopg
from rich.console import Console
from rich.table import Column, Table

from benchmarks.fleet import tokens_of
from benchmarks.serving import Server, asking, client_context, standalone
from contracts.routes import find
from functions.config import parts
from functions.config.handler import handler
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres
from infra.standalone.events import Event, FunctionContext, HttpRequest, http_event

AGENTS, EVERY_SECONDS = 10_000, 60.0

GROUPS = 20

#: Connections that the agents share.
_LINES = 32

_EAGER_SECONDS = 20.0

#: Questions to the function alone.
_ALONE = 5000

_SETUP = f"""
    insert into store.document (scope, version, body, sha256, author, comment)
    values ('fleet', 1, '{{"preset": "standard", "databases": {{"at_most": 50}}}}', 'x', '', '');
    insert into store.document (scope, version, body, sha256, author, comment, selector, priority)
    select 'group:g' || n, 1, jsonb_build_object('upload_every_seconds', 60 + n), 'x', '', '',
        jsonb_build_object('number', n::text), 100
    from generate_series(0, {GROUPS - 1}) n;
    insert into store.agent_labels
    select 'db-' || n, jsonb_build_object('number', (n % {GROUPS})::text) from generate_series(0, {AGENTS - 1}) n;
    insert into store.agent
    select 'db-' || n, now(), now(), '', 0, null, 'default', null, 0 from generate_series(0, {AGENTS - 1}) n;
    create extension pg_stat_statements;
"""

_CHANGE = """
    insert into store.document (scope, version, body, sha256, author, comment)
    values ('fleet', 2, '{"preset": "minimal"}', 'x', '', '')
"""

_STATEMENTS = """
    select coalesce(sum(s.calls), 0)::bigint
    from pg_stat_statements s
    join pg_database d on d.oid = s.dbid
    where d.datname = current_database() and s.query not like '%pg_stat_statements%'
"""


@dataclass
class Outcome:
    """What a run gave: seconds of each answer by status, and what it cost, in all."""

    seconds: float = 0.0
    answers: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    server_cpu: float = 0.0
    store_cpu: float = 0.0
    statements: int = 0

    def row(self, name: str) -> list[str]:
        count = len(self.answers)
        quantiles = statistics.quantiles(self.answers, n=100, method="inclusive")
        return [
            name,
            ", ".join(map(str, sorted(set(self.statuses)))),
            f"{count / self.seconds:,.0f}",
            *(f"{quantiles[percent - 1] * 1000:.1f}" for percent in (50, 95, 99)),
            f"{self.server_cpu / count * 1000:.2f}",
            f"{self.store_cpu / count * 1000:.2f}",
            f"{self.statements / count:.2f}",
        ]


class Line:
    """One connection, over which one question follows another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, token: str, etag: str | None, outcome: Outcome) -> str:
        """The ETag of what the agent with this token is to obey."""
        begun = time.perf_counter()
        have = f"If-None-Match: {etag}\r\n" if etag else ""
        self._writer.write(
            f"GET /v1/config HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{have}\r\n".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        if status != HTTPStatus.NOT_MODIFIED:
            await self._reader.readexactly(int(fields.get("content-length", 0)))
        outcome.answers.append(time.perf_counter() - begun)
        outcome.statuses.append(status)
        return fields.get("etag", etag or "")

    def close(self) -> None:
        self._writer.close()


@dataclass
class Fleet:
    """The agents, what each has, and where they ask."""

    server: Server
    store: EmbeddedPostgres
    tokens: Sequence[str]
    etags: list[str | None]

    def run(self, *, every: float | None = None, seconds: float | None = None) -> Outcome:
        """Every agent asks once: without pause, or spread over so many seconds; or as often as fits into `seconds`."""
        outcome, process = Outcome(), psutil.Process(self.server.pid)
        statements, server_cpu, store_cpu = self._statements(), _cpu(process), _cpu_of_store(self.store)
        begun = time.perf_counter()
        asyncio.run(self._ask(outcome, begun, every, seconds))
        outcome.seconds = time.perf_counter() - begun
        outcome.server_cpu = _cpu(process) - server_cpu
        outcome.store_cpu = _cpu_of_store(self.store) - store_cpu
        outcome.statements = self._statements() - statements
        return outcome

    async def _ask(self, outcome: Outcome, begun: float, every: float | None, seconds: float | None) -> None:
        context = client_context(self.server)

        async def one(number: int) -> None:
            line = Line(*await asyncio.open_connection("127.0.0.1", self.server.port, ssl=context))
            while True:
                for agent in range(number, len(self.tokens), _LINES):
                    if every is not None:
                        due = begun + agent / len(self.tokens) * every
                        await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    if seconds is not None and time.perf_counter() - begun > seconds:
                        line.close()
                        return
                    self.etags[agent] = await line.ask(self.tokens[agent], self.etags[agent], outcome)
                if seconds is None:
                    line.close()
                    return

        await asyncio.gather(*(one(number) for number in range(_LINES)))

    def _statements(self) -> int:
        with psycopg.connect(self.store.dsn()) as connection:
            row = connection.execute(_STATEMENTS).fetchone()
        return int(row[0]) if row else 0


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _cpu_of_store(store: EmbeddedPostgres) -> float:
    # Its sessions are the postmaster's children; those of the functions last as long as the run.
    total = 0.0
    for child in psutil.Process(store.pid).children():
        try:
            total += _cpu(child)
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    console = Console()
    table = Table(Column("", no_wrap=True), "status", "per s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "store", "SQL")
    with embedded_postgres({"shared_preload_libraries": "pg_stat_statements"}) as store:
        with standalone(store.dsn()) as server:
            with psycopg.connect(store.dsn(), autocommit=True) as connection:
                connection.execute(_SETUP)
            fleet = Fleet(server, store, tokens_of(server, AGENTS), [None] * AGENTS)
            table.add_row(*fleet.run().row("at first"))
            console.print(f"a minute at the true rate: {AGENTS:,} agents, {AGENTS / EVERY_SECONDS:.0f} a second")
            table.add_row(*fleet.run(every=EVERY_SECONDS).row("once a minute"))
            eager = fleet.run(seconds=_EAGER_SECONDS)
            table.add_row(*eager.row("without pause"))
            with psycopg.connect(store.dsn(), autocommit=True) as connection:
                connection.execute(_CHANGE)
            table.add_row(*fleet.run().row("after a change"))
            alone = _alone(store, fleet.etags)
        with asking(store.dsn()) as server:
            reference = Fleet(server, store, fleet.tokens, list(fleet.etags))
            reference.run(seconds=1.0)
            least = reference.run(seconds=_EAGER_SECONDS)
            table.add_row(*least.row("reference"))
    ratio = len(eager.answers) / eager.seconds / (len(least.answers) / least.seconds)
    console.print(
        table,
        "for each answer: CPU of the server's process and of the store's, and SQL statements\n"
        f"{_LINES} connections; rate without pause against the reference {ratio:.2f}\n"
        f"the function alone: {alone:.2f} ms of the processor for each 304, over {_ALONE:,}\n"
        f"{EVERY_SECONDS * len(eager.answers) / eager.seconds:,.0f} agents could ask once a minute",
    )


def _alone(store: EmbeddedPostgres, etags: Sequence[str | None]) -> float:
    """Milliseconds of the processor that the function itself takes for a 304."""
    os.environ["PGANALYTICS_STORE_DSN"] = store.dsn()
    context = FunctionContext("config")
    events = [_event(agent, etags[agent]) for agent in range(_ALONE)]
    handler(events[0], context)
    begun = time.process_time()
    statuses = {handler(event, context)["statusCode"] for event in events}
    taken = time.process_time() - begun
    parts.store().close()
    if statuses != {HTTPStatus.NOT_MODIFIED}:
        sys.exit(f"the function answered {statuses}, not 304 alone")
    return taken / _ALONE * 1000


def _event(agent: int, etag: str | None) -> Event:
    route = find("GET", "/v1/config")
    if route is None or etag is None:
        sys.exit("an agent has no configuration")
    now = int(time.time())
    caller = {
        "iss": "pganalytics",
        "aud": "pganalytics-agent",
        "sub": f"db-{agent}",
        "scope": "batches:write config:read",
        "iat": now,
        "nbf": now,
        "exp": now + 900,
        "jti": f"{agent:032}",
    }
    return http_event(HttpRequest("GET", "/v1/config", headers=(("if-none-match", etag),)), route, caller)


if __name__ == "__main__":
    main()
