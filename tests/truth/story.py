"""A watched server whose readings go the whole way into a store, where a test asks what they add up to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.outbox import Contents, Outbox
from agent.settings import TargetSettings
from agent.targets.server import ServerTarget
from contracts.batch import Batch, Status
from contracts.codec import decode, encode, sha256
from contracts.document import DatabaseSettings, Document
from contracts.metrics import Metric
from contracts.names import target_id
from contracts.objects import key_of
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, load
from functions.retention import Retention
from functions.store import Connection, Store

AGENT, TARGET = "truth", "main"


@dataclass
class Story:
    """One agent's reading of one target, and the store that it goes into."""

    store: Store
    connection: Connection
    changes: Changes = field(default_factory=Changes)
    _outbox: Outbox = field(default_factory=Outbox)
    _seq: Iterator[int] = field(default_factory=itertools.count)
    _stream: UUID = field(default_factory=uuid4)
    _target: ServerTarget | None = None

    def watch(self, dsn: str, *databases: str) -> None:
        """From now on it is this server that is read; another one after a failover."""
        if self._target is not None:
            self._target.close()
        self._target = ServerTarget(TargetSettings(name=TARGET, dsn=dsn), self.changes, self._outbox)
        self._target.apply(Document(databases=DatabaseSettings(include=databases)))

    def read(self, *metrics: Metric) -> None:
        """One reading of these metrics, loaded; made again where a connection that broke cost the first."""
        contents = self._collected(metrics)
        if any(run.status is Status.ERROR for run in contents.runs):
            contents = self._collected(metrics)
        assert not any(run.status is Status.ERROR for run in contents.runs), contents.runs
        batch = Batch(
            agent_id=AGENT,
            stream_id=self._stream,
            seq=next(self._seq),
            sent_at=time.time_ns() // 1000,
            agent_version="1",
            frames=contents.frames,
            runs=contents.runs,
        )
        data = encode(batch)
        digest = sha256(data)
        assert load(
            self.store, [Arrival(key_of(batch, digest), bytes.fromhex(digest), decode(data))], Retention(30)
        ) == [Loaded.NEW]

    def _collected(self, metrics: Sequence[Metric]) -> Contents:
        assert self._target is not None
        for collector in COLLECTORS:
            if collector.metric in metrics:
                self._target.collect(collector)
        return self._outbox.take()

    def deltas(self, metric: Metric, column: str, condition: str = "true") -> list[Any]:
        """The differences of one row, in the order of its readings."""
        rows = self.connection.execute(
            f"select {column} from delta.{metric.name}(%s, '-infinity', now() + interval '1 minute') "
            f"where {condition} order by collected_at".encode(),
            (target_id(AGENT, TARGET),),
        ).fetchall()
        return [value for (value,) in rows]

    def close(self) -> None:
        if self._target is not None:
            self._target.close()
