"""A fleet of hosts that ask for their configuration and send batches, each when its document says, by a hurried clock.

Each that asks is a coroutine, and some are with the real function at the same time; what they send goes through the
real loader. The clock is an hour ahead of the store's: whatever the store dated by its own clock is known by that, and
moved to the fleet's.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from pydantic import SecretStr

from contracts.batch import Batch, Clock, Config, ConfigState, Status
from contracts.configuration import Release, ReleaseAsked
from contracts.document import Document, VersionedDocument
from contracts.objects import key_of
from functions.config import parts, releases, shown
from functions.config.advance import Looked, advance
from functions.config.effective import of_scope
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, load
from functions.retention import Retention
from functions.store import Store
from tests.functions.batches import frame, run
from tests.functions.config.api import poll, save

_AHEAD = timedelta(hours=1)
_AT_ONCE = 4
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

#: What a bad document says, and no other.
BAD = {"statement_timeout_ms": 10}


@dataclass(slots=True)
class Host:
    """A host; `fails` has what happens to it once it is told to obey a bad document."""

    id: str
    fails: Callable[[Host], None] | None = None
    stream: UUID = field(default_factory=uuid4)
    seq: int = 0
    cpu_us: int = 0
    query_us: int = 0
    cpu_share: float = 0.01
    query_share: float = 0.001
    config: Config = field(default_factory=Config)
    obeys: Document = field(default_factory=Document)
    collectors: Status = Status.OK
    up: bool = True
    epoch: int = 7
    skew: timedelta = timedelta(0)  # how far its clock is ahead
    polls_at: datetime = _LONG_AGO
    sends_at: datetime = _LONG_AGO
    read_at: datetime | None = None

    def told(self, answer: VersionedDocument, etag: str) -> None:
        bad = answer.document.statement_timeout_ms == BAD["statement_timeout_ms"]
        was = self.config
        self.collectors, self.obeys = Status.OK, answer.document
        self.config = Config(version=answer.version, etag=etag, state=ConfigState.APPLIED)
        if bad and self.fails:
            self.fails(self)
        if self.config.state is ConfigState.REJECTED:
            self.config = self.config.model_copy(update={"version": was.version})

    def reading(self, now: datetime) -> Batch:
        since = (now - self.read_at).total_seconds() if self.read_at else 60
        self.read_at, self.seq = now, self.seq + 1
        self.cpu_us += round(since * 1e6 * self.cpu_share)
        self.query_us += round(since * 1e6 * self.query_share)
        now += self.skew
        at = _us(now) - 1000
        health, target = frame("agent_health", at), frame("agent_target", at, rows=1)
        health.columns["cpu_us"][0] = self.cpu_us
        target.columns["target"][0] = "main"
        target.columns["query_time_us"][0] = self.query_us
        return Batch(
            agent_id=self.id,
            stream_id=self.stream,
            seq=self.seq,
            sent_at=_us(now),
            agent_version="0.1.0",
            config=self.config,
            clock=Clock(skew_us=self.skew // timedelta(microseconds=1)),
            frames=tuple(each.model_copy(update={"epoch": self.epoch}) for each in (health, target)),
            runs=(run("host_cpu", at), run("table_stats", at, self.collectors)),
        )


def refuse(host: Host) -> None:
    """It cannot do what the document says."""
    host.config = host.config.model_copy(
        update={"state": ConfigState.REJECTED, "reason": "statement_timeout_ms: too short"}
    )


def time_out(host: Host) -> None:
    """It obeys, and its collectors run into the timeout."""
    host.collectors = Status.TIMEOUT


def die(host: Host) -> None:
    """It is not heard of again."""
    host.up = False


class Fleet:
    """Hosts, the store, and a clock that only `after` moves."""

    def __init__(self, dsn: str, ids: Iterable[str]) -> None:
        self.store = Store(SecretStr(dsn), "tests")
        self.hosts = {name: Host(name) for name in ids}
        self.now = datetime.now(UTC) + _AHEAD
        self.began_at = self.now
        self._function = ThreadPoolExecutor(_AT_ONCE)

    def disconnect(self) -> None:
        """Close the connections to the store: the fleet's own, and those of the function's threads."""
        together = threading.Barrier(_AT_ONCE)

        def disconnect() -> None:
            together.wait()
            parts.store().close()

        for each in [self._function.submit(disconnect) for _ in range(_AT_ONCE)]:
            each.result()
        self.store.close()

    def close(self) -> None:
        self.disconnect()
        self._function.shutdown()

    def save(self, document: dict[str, Any], *, draft: bool = True, scope: str = "fleet") -> int:
        """Save a document, and answer its version."""
        return int(save(scope, document, activate=not draft)["version"])

    def live(self) -> int:
        """The live version of the fleet's document."""
        with self.store.transaction() as connection:
            standing = of_scope(connection, "fleet")
        return standing.live.version if standing.live else 0

    def label(self, ids: Iterable[str], labels: dict[str, str]) -> None:
        with self.store.transaction() as connection:
            connection.execute(
                "insert into store.agent_labels select id, %s from unnest(%s::text[]) as id", (Jsonb(labels), list(ids))
            )

    def start(self, **asked: Any) -> int:
        with self.store.transaction() as connection:
            return releases.start(connection, ReleaseAsked(**asked), "ann", self.now).id

    def release(self, id: int) -> Release:
        with self.store.transaction() as connection:
            return shown.release(connection, id)

    def after(self, seconds: float) -> None:
        """Let time pass, and whoever is due ask, and send a second later."""
        self.now += timedelta(seconds=seconds)
        self.poll(host for host in self.hosts.values() if host.up and host.polls_at <= self.now)
        self.now += timedelta(seconds=1)
        self.send(host for host in self.hosts.values() if host.up and host.sends_at <= self.now)

    def poll(self, hosts: Iterable[Host] | None = None) -> None:
        asyncio.run(self._poll(tuple(hosts or self.hosts.values())))
        self._date()

    async def _poll(self, hosts: Iterable[Host]) -> None:
        await asyncio.gather(*map(self._ask, hosts))

    async def _ask(self, host: Host) -> None:
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._function, poll, host.id, host.config.etag)
        assert answer["statusCode"] in {200, 304}, answer
        if answer["statusCode"] == 200:
            host.told(VersionedDocument.model_validate_json(answer["body"]), answer["headers"]["ETag"])
            host.sends_at = self.now
        host.polls_at = self.now + timedelta(seconds=host.obeys.pull_every_seconds)

    def _date(self) -> None:
        with self.store.transaction() as connection:
            connection.execute(
                "update store.release_agent set given_at = %s where given_at < %s",
                (self.now, self.began_at - _AHEAD / 2),
            )

    def send(self, hosts: Iterable[Host]) -> None:
        batches = []
        for host in hosts:
            batches.append(host.reading(self.now))
            host.sends_at = self.now + timedelta(seconds=host.obeys.upload_every_seconds)
        self.load(batches)

    def load(self, batches: Sequence[Batch]) -> None:
        arrivals = [_arrival(each) for each in batches]
        for start in range(0, len(arrivals), 500):
            outcomes = load(self.store, arrivals[start : start + 500], Retention(30))
            assert set(outcomes) == {Loaded.NEW}, outcomes[:3]

    def look(self) -> list[Looked]:
        return advance(self.store, self.now)

    def run(self, id: int, seconds: float = 60, steps: int = 30) -> Release:
        """Let time pass until the release has ended."""
        for _ in range(steps):
            self.after(seconds)
            self.look()
            release = self.release(id)
            if release.ended_at:
                return release
        raise AssertionError(f"still {release.state} after {steps} steps: {release.events[-1]}")


def _arrival(batch: Batch) -> Arrival:
    # Nobody reads it from the bucket: any digest of its content will do.
    digest = hashlib.sha256(batch.model_dump_json().encode()).hexdigest()
    return Arrival(key_of(batch, digest), bytes.fromhex(digest), batch)


def _us(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
