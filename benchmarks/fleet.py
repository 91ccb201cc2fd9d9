"""A fleet against the standalone server: 500 agents at a batch a minute each, then as fast as it goes.

Agents are coroutines that keep their connections (TLS 1.3) and send recorded batches with other values. The reference,
in the same run: the same bytes to an ASGI application on the same uvicorn, which writes each to a file and fsyncs it.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import ssl
import statistics
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.recorded import minute, now_us, record
from benchmarks.serving import Server, client_context, plain, standalone
from contracts.batch import Batch
from contracts.claims import AgentClaims, Audience
from functions.authorizer.keys import load
from functions.authorizer.tokens import issue
from infra.standalone.embedded import embedded_postgres

AGENTS, EVERY_SECONDS = 500, 60.0

#: Minutes that count, after one in which every agent connects and sends its first batch in full.
_MINUTES = 2

#: At the highest rate: agents that send without pause, and for how long. Each has so many batches made for it.
_EAGER, _SECONDS, _BATCHES = 32, 20.0, 100

_DRAIN_SECONDS = 300.0


@dataclass
class Outcome:
    """What a run gave: seconds of each answer, and samples of the server once a second."""

    seconds: float = 0.0
    answers: list[float] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)

    def quantile(self, percent: int) -> float:
        return statistics.quantiles(self.answers, n=100, method="inclusive")[percent - 1] * 1000


class Agent:
    """Sends over one connection, that it makes anew when the server has closed it."""

    def __init__(self, server: Server, context: ssl.SSLContext, token: str) -> None:
        self._server = server
        self._context = context
        self._token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, body: bytes, outcome: Outcome) -> None:
        if self._streams is None or self._streams[0].at_eof():
            self._streams = await asyncio.open_connection("127.0.0.1", self._server.port, ssl=self._context)
        reader, writer = self._streams
        begun = time.perf_counter()
        writer.write(
            f"POST /v1/batches HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        answer = await reader.readexactly(int(fields.get(b"content-length", 0)))
        if head.startswith(b"HTTP/1.1 202"):
            outcome.answers.append(time.perf_counter() - begun)
        else:
            outcome.refused.append(head + answer)

    async def close(self) -> None:
        if self._streams:
            self._streams[1].close()


def main() -> None:
    console = Console()
    recorded = record()
    bodies = _at_true_rate(recorded)
    table = Table("", "batches/s", "p50 ms", "p95 ms", "p99 ms", "most MB", "deepest queue", "lost")
    with embedded_postgres({}) as store, standalone(store.dsn()) as server:
        tokens = tokens_of(server, AGENTS)
        first = asyncio.run(_minutes(server, tokens, bodies[:1]))
        true = asyncio.run(_minutes(server, tokens, bodies[1:]))
        rows, drained = _drained(store.dsn(), server)
        accepted = len(first.answers) + len(true.answers)
        _row(table, f"{AGENTS} agents", true, accepted - _loaded(store.dsn()))
        eager = asyncio.run(_eager(server, tokens, recorded))
        more, drained_eager = _drained(store.dsn(), server)
        accepted += len(eager.answers)
        _row(table, f"{_EAGER} without pause", eager, accepted - _loaded(store.dsn()))
    with plain() as server:
        tokens = ["none"] * AGENTS
        asyncio.run(_minutes(server, tokens, bodies[:1]))
        reference = asyncio.run(_minutes(server, tokens, bodies[1:2]))
        _row(table, "reference, fleet", reference, 0)
        fastest = asyncio.run(_eager(server, tokens, recorded))
        _row(table, "reference, without pause", fastest, 0)
    whole = eager.seconds + drained_eager
    console.print(
        table,
        f"batches of {statistics.median(map(len, bodies[1])) / 1000:.1f} KB; {rows:,} rows in {accepted:,} batches\n"
        f"the queue was empty {drained:.1f} s after the fleet, {drained_eager:.1f} s after those without pause: "
        f"{len(eager.answers) / whole:,.1f} batches/s and {(more - rows) / whole:,.0f} rows/s from the door to the "
        f"store\nrate against the reference {_rate(eager) / _rate(fastest):.2f}, "
        f"p95 of the fleet {true.quantile(95) / reference.quantile(95):.1f} times the reference's\n"
        f"queue's depth every 10 s without pause: {eager.depths[::10]}; refused: "
        f"{[answer[:80] for answer in (first.refused + true.refused + eager.refused)[:3]]}",
    )


def _rate(of: Outcome) -> float:
    return len(of.answers) / of.seconds


def _row(table: Table, name: str, of: Outcome, lost: int) -> None:
    quantiles = [f"{of.quantile(percent):.1f}" for percent in (50, 95, 99)]
    table.add_row(
        name, f"{_rate(of):.1f}", *quantiles, f"{max(of.rss) / 1e6:.0f}", str(max(of.depths, default=0)), str(lost)
    )


def tokens_of(server: Server, agents: int) -> list[str]:
    """Access tokens of db-0, db-1…, good for 15 minutes."""
    keys, now = load(server.keys), int(time.time())
    claims = (
        AgentClaims(
            iss="pganalytics",
            aud=Audience.AGENT,
            sub=f"db-{agent}",
            iat=now,
            nbf=now,
            exp=now + 900,
            jti=f"{agent:032}",
        )
        for agent in range(agents)
    )
    return [issue(each, keys) for each in claims]


def _at_true_rate(recorded: Batch) -> list[list[bytes]]:
    """The batches of each minute, of all agents; made before anything is measured."""
    chance, now = random.Random(1), now_us()
    return [
        [minute(recorded, f"db-{agent}", UUID(int=agent), seq, now, chance) for agent in range(AGENTS)]
        for seq in range(1 + _MINUTES)
    ]


async def _minutes(server: Server, tokens: list[str], bodies: list[list[bytes]]) -> Outcome:
    outcome, context = Outcome(), client_context(server)
    begun = time.perf_counter()

    async def one(number: int) -> None:
        agent = Agent(server, context, tokens[number])
        for passed, of_minute in enumerate(bodies):
            due = begun + (passed + number / AGENTS) * EVERY_SECONDS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await agent.send(of_minute[number], outcome)
        await agent.close()

    await _sampled(server, outcome, (one(number) for number in range(AGENTS)))
    outcome.seconds = len(bodies) * EVERY_SECONDS
    return outcome


async def _eager(server: Server, tokens: list[str], recorded: Batch) -> Outcome:
    outcome, context, chance, now = Outcome(), client_context(server), random.Random(2), now_us()
    bodies = [
        [minute(recorded, f"db-{agent}", UUID(int=AGENTS + agent), 1 + seq, now, chance) for seq in range(_BATCHES)]
        for agent in range(_EAGER)
    ]
    begun = time.perf_counter()

    async def one(number: int) -> None:
        agent = Agent(server, context, tokens[number])
        for body in bodies[number]:
            if time.perf_counter() - begun > _SECONDS:
                break
            await agent.send(body, outcome)
        await agent.close()

    await _sampled(server, outcome, (one(number) for number in range(_EAGER)))
    outcome.seconds = time.perf_counter() - begun
    return outcome


async def _sampled(server: Server, outcome: Outcome, agents: Iterable[Coroutine[Any, Any, None]]) -> None:
    process = psutil.Process(server.pid)

    async def sample() -> None:
        while True:
            outcome.rss.append(process.memory_info().rss)
            outcome.depths.append(_depth(server))
            await asyncio.sleep(1)

    sampling = asyncio.create_task(sample())
    await asyncio.gather(*agents)
    sampling.cancel()


def _depth(server: Server) -> int:
    file = server.folder / "data" / "queue.sqlite3"
    if not file.exists():
        return 0
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return int(connection.execute("select count(*) from message").fetchone()[0])
    finally:
        connection.close()


def _drained(dsn: str, server: Server) -> tuple[int, float]:
    """Rows in the store once the queue is empty, and how long that took."""
    begun = time.perf_counter()
    while _depth(server) and time.perf_counter() - begun < _DRAIN_SECONDS:
        time.sleep(0.1)
    taken = time.perf_counter() - begun
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select coalesce(sum(rows), 0) from store.ledger").fetchone()
    return int(row[0]) if row else 0, taken


def _loaded(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*) from store.ledger").fetchone()
    return int(row[0]) if row else 0
