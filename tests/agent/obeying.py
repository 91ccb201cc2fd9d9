"""An agent that runs, and a door that gives it one document after another."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contracts.batch import Batch, ConfigState, Frame, Run
from contracts.codec import decode
from contracts.document import VersionedDocument
from contracts.metrics import METRICS
from tests.agent.door import Answer, Asked, Door, configuration, door
from tests.agent.polling import until
from tests.agent.program import Agent

#: The budget judges by five of its periods, which are no shorter than a batch's time.
_PROGRAM = """
import agent.budget
agent.budget._PERIOD_SECONDS = 0.2
from agent.main import app
app()
"""

#: Said first in every document: a batch a second, pulled when the test says so, and no bound but what the test sets.
BASE: Mapping[str, Any] = {
    "upload_every_seconds": 1,
    "pull_every_seconds": 3600,
    "statement_timeout_ms": 60_000,
    "budget": {"cpu_share": None, "database_share": None, "upload_bytes_per_hour": None},
}


def only(*every_second: str, **said: Mapping[str, Any]) -> dict[str, Any]:
    """The document's metrics: these every second, what is said of others, and all that is not named off."""
    metrics: dict[str, Any] = {metric.name: {"enabled": False} for metric in METRICS}
    metrics |= {name: {"every_seconds": 1} for name in every_second}
    return {"metrics": metrics | {name: {"every_seconds": 1, **of} for name, of in said.items()}}


@dataclass(frozen=True)
class _Program(Agent):
    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", _PROGRAM, *arguments, "--settings", str(self.settings)]


@dataclass
class Obedient:
    """A running agent, and what it uploaded."""

    agent: Agent
    process: subprocess.Popen[bytes]
    door: Door
    version: int = 0
    _decoded: dict[int, Batch] = field(default_factory=dict)

    def offer(self, document: Mapping[str, Any]) -> str:
        """From now on the door answers this document, as a version of its own; its entity tag."""
        self.version += 1
        version, etag = self.version, f'"{self.version}-tag"'

        def answer(asked: Asked) -> Answer:
            if asked.path != "/v1/config":
                return Answer(202)
            if asked.headers["If-None-Match"] == etag:
                return Answer(304)
            return configuration(version, {**BASE, **document}, etag)

        self.door.answer = answer
        return etag

    def pull_now(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def obey(self, document: Mapping[str, Any]) -> int:
        """Have the document obeyed; the instant from which on it is, in microseconds."""
        etag = self.offer(document)
        self.pull_now()
        until(lambda: self.kept().version == self.version)
        since = time.time_ns() // 1000
        until(lambda: self.batches()[-1].config.etag == etag)
        assert self.batches()[-1].config.state is ConfigState.APPLIED
        return since

    def kept(self) -> VersionedDocument:
        """The last good document, as it stands on the agent's disk."""
        try:
            text = (self.agent.state / "configuration.json").read_bytes()
        except FileNotFoundError:
            return VersionedDocument()
        return _Kept.model_validate_json(text).answer

    def batches(self) -> list[Batch]:
        """All that was uploaded so far."""
        for place, asked in enumerate(list(self.door.asked)):
            if asked.path == "/v1/batches" and place not in self._decoded:
                self._decoded[place] = decode(asked.body)
        return list(self._decoded.values())

    def runs(self, since: int, collector: str | None = None) -> list[Run]:
        """What was executed from this instant on."""
        found = (run for batch in self.batches() for run in batch.runs if run.started_at >= since)
        return [run for run in found if collector in {None, run.collector}]

    def frames(self, since: int, metric: str) -> list[Frame]:
        """What was read of a metric from this instant on."""
        found = (frame for batch in self.batches() for frame in batch.frames if frame.collected_at >= since)
        return [frame for frame in found if frame.metric == metric]

    def gone(self, collector: str, beside: str, since: int) -> Callable[[], bool]:
        """Whether a collector runs no more: the other, which may come as often, did three times since it last did.

        What was waiting for its thread when the document came still has its turn.
        """

        def found() -> bool:
            last = max((run.started_at for run in self.runs(since, collector)), default=since)
            return len(self.runs(last + 1, beside)) >= 3

        return found


class _Kept(BaseModel):
    answer: VersionedDocument


@contextmanager
def obeying(folder: Path, targets: str, *, away: bool = False) -> Iterator[Obedient]:
    """An agent that watches these targets, and has uploaded something.

    From a server that is away it gets no document, until one is offered: it obeys what an agent of this folder kept.
    """
    agent = _Program(folder)
    with door(lambda asked: Answer(503 if asked.method == "GET" else 202)) as opened:
        agent.write(targets, url=opened.url)
        with agent.running() as process:
            obedient = Obedient(agent, process, opened)
            if not away:
                obedient.offer(only("agent_health"))
                # A signal that comes before the agent waits for it would end it.
                until(lambda: obedient.kept().version == 1)
            until(obedient.batches)
            yield obedient
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
    assert "Traceback" not in agent.log.read_text()
