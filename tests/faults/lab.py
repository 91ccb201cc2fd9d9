"""A server, agents that watch their host, and a store, all of them real and all of them there to be broken."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from typer.testing import CliRunner

from cli.main import app
from contracts.metrics import METRICS, Scope
from infra.standalone.embedded import free_port
from tests.agent.polling import until
from tests.faults.oracle import Account, judge
from tests.faults.witness import Witness
from tests.infra.standalone.serving import make_keys
from tests.nursery import Nursery

#: Generous: the machine may have two processors and six other runs on them.
PATIENCE_SECONDS = 120.0

_HOST = {metric.name for metric in METRICS if metric.scope is Scope.HOST}
_NO_BOUNDS = {"cpu_share": None, "database_share": None, "upload_bytes_per_hour": None}
_QUICK = {
    "upload_every_seconds": 1,
    "pull_every_seconds": 1,
    "metrics": {name: {"every_seconds": 1} for name in _HOST},
    "budget": _NO_BOUNDS,
}
_QUIET = {**_QUICK, "metrics": {metric.name: {"enabled": False} for metric in METRICS}}


def instant(dice: random.Random, least: float, most: float) -> None:
    """Let things go on until an instant that nobody chose: what is killed then is in the midst of anything."""
    threading.Event().wait(dice.uniform(least, most))


@dataclass
class LabAgent:
    """One agent, dead or alive, and what was seen of its spool."""

    lab: Lab
    name: str
    folder: Path
    witness: Witness
    pid: int | None = None
    clock: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def spool(self) -> Path:
        return self.witness.spool

    def write(self, url: str, max_bytes: int = 10**9) -> None:
        token = self.folder / "token"
        if not token.exists():
            token.write_text(_here("token", "issue", "--keys-file", self.lab.keys, "--agent", self.name, "--ttl", "7d"))
        (self.folder / "agent.toml").write_text(
            f'agent_id = "{self.name}"\nstate_directory = "{self.folder}/state"\n'
            f'[server]\nurl = "{url}"\ntoken_file = "{token}"\n[spool]\nmax_bytes = {max_bytes}\n'
        )

    def start(self) -> None:
        assert self.pid is None
        self.pid = self.lab.nursery.start(
            "agent",
            *("run", "--settings", self.folder / "agent.toml"),
            log=self.folder / "agent.log",
            clock=self.clock,
            environment=self.environment,
        )

    def kill(self) -> None:
        """kill -9, and a look at what it left on its disk."""
        assert self.pid is not None
        code = self.lab.nursery.kill(self.pid)
        self.pid = None
        assert code == -signal.SIGKILL, f"{self.name} ended by itself with {code}: {self.log()}"
        self.witness.look()

    def stop(self) -> None:
        assert self.pid is not None
        code = self.lab.nursery.kill(self.pid, signal.SIGTERM)
        self.pid = None
        assert code == 0, f"{self.name} ended with {code}: {self.log()}"
        self.witness.look()

    def waits(self) -> int:
        """How many batches wait in the spool."""
        return sum(1 for _ in self.spool.glob("*.json.gz"))

    def places(self) -> int:
        """How many places of its stream are taken."""
        return int(json.loads((self.spool / "stream.json").read_text())["next_seq"])

    def obeys(self) -> int:
        """The version of the document that it keeps; 0 before the first."""
        try:
            kept = json.loads((self.folder / "state" / "configuration.json").read_text())
        except FileNotFoundError:
            return 0
        return int(kept["answer"]["version"])

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()[-3000:]

    def log_of(self, words: str) -> int:
        """How many lines of its log say so."""
        return (self.folder / "agent.log").read_text().count(words)


@dataclass
class Lab:
    """Everything that a story breaks. `url` is where agents send: the server, or something on the way to it."""

    folder: Path
    dsn: str
    nursery: Nursery
    port: int = field(default_factory=free_port)
    agents: list[LabAgent] = field(default_factory=list)
    pid: int | None = None
    version: int = 0

    @property
    def keys(self) -> Path:
        return self.folder / "keys.json"

    @property
    def data(self) -> Path:
        return self.folder / "server"

    @property
    def bucket(self) -> Path:
        return self.data / "bucket"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def document(self, content: dict[str, object]) -> None:
        """What all agents obey from their next pull on."""
        body = json.dumps(content)
        with psycopg.connect(self.dsn, autocommit=True) as store:
            row = store.execute(
                """
                insert into store.document (scope, version, body, sha256, author, comment)
                select 'fleet', count(*) + 1, %s::text::jsonb, sha256(convert_to(%s::text, 'UTF8')), 'faults', 'a story'
                from store.document
                returning revision
                """,
                (body, body),
            ).fetchone()
        # Agents tell the revision, whose numbers leap where the store has crashed.
        assert row is not None
        self.version = int(row[0])

    def add(self, count: int, url: str | None = None, max_bytes: int = 10**9) -> list[LabAgent]:
        """Agents with a first batch loaded, running."""
        new = []
        for _ in range(count):
            name = f"db-{len(self.agents) + 1}"
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            agent = LabAgent(self, name, folder, Witness(name, folder / "state" / "spool"))
            agent.write(url or self.url, max_bytes)
            self.agents.append(agent)
            new.append(agent)
            agent.start()
        until(lambda: all(agent.obeys() == self.version for agent in new), PATIENCE_SECONDS)
        names = {agent.name for agent in new}
        until(lambda: names <= set(self.loaded()), PATIENCE_SECONDS)
        return new

    def serve(self, *, wait: bool = True) -> None:
        assert self.pid is None
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        self.pid = self.nursery.start(
            "pganalytics",
            *("serve", "--port", str(self.port), "--data-dir", self.data, "--keys-file", self.keys),
            *("--ready-file", ready),
            log=self.folder / "server.log",
            environment={"PGANALYTICS_STORE_DSN": self.dsn, "PGANALYTICS_KEEP_DAYS": "3650"},
        )
        if wait:
            until(lambda: ready.exists() or not self._serving(), PATIENCE_SECONDS)
            assert self._serving(), self.log()

    def _serving(self) -> bool:
        return self.pid is not None and self.nursery.alive(self.pid)

    def kill_server(self) -> None:
        assert self.pid is not None
        code = self.nursery.kill(self.pid)
        self.pid = None
        assert code == -signal.SIGKILL, f"the server ended by itself with {code}: {self.log()}"

    def log(self) -> str:
        return (self.folder / "server.log").read_text()[-3000:]

    def loaded(self) -> dict[str, int]:
        """How many batches of each agent are in the ledger."""
        with psycopg.connect(self.dsn, autocommit=True) as store:
            return dict(store.execute("select agent_id, count(*) from store.ledger group by 1").fetchall())

    def more_loaded(self, agents: Sequence[LabAgent] | None = None, batches: int = 1) -> None:
        """Wait until more of each of these agents is in the store than now: the way is open."""
        of, before = [agent.name for agent in agents or self.agents], self.loaded()
        until(lambda: all(self.loaded().get(name, 0) >= before.get(name, 0) + batches for name in of), PATIENCE_SECONDS)

    def queued(self) -> int:
        with closing(sqlite3.connect(f"file:{self.data}/queue.sqlite3?mode=ro", uri=True)) as queue:
            return int(
                queue.execute("select (select count(*) from message) + (select count(*) from dead)").fetchone()[0]
            )

    def quiet(self) -> Account:
        """Let everything through and collect nothing more; then judge."""
        self.document(_QUIET)
        if not self._serving():
            self.serve()
        waiting = self.agents
        while waiting:
            for agent in waiting:
                if agent.pid is not None:
                    agent.kill()  # a new one does not wait as long as one that has failed for a while
                agent.start()
            for agent in waiting:
                until(lambda agent=agent: agent.obeys() == self.version, PATIENCE_SECONDS)  # type: ignore[misc]
                until(lambda agent=agent: not agent.waits(), PATIENCE_SECONDS)  # type: ignore[misc]
                agent.stop()
            waiting = [agent for agent in waiting if agent.waits()]
        until(lambda: not self.queued(), PATIENCE_SECONDS)
        return judge(self.dsn, self.bucket, [agent.witness for agent in self.agents])


@contextmanager
def lab(folder: Path, dsn: str, nursery: Nursery) -> Iterator[Lab]:
    """A server that runs, and no agent yet. What still runs at the end is killed."""
    made = Lab(folder, dsn, nursery)
    make_keys(made.keys)
    made.document(_QUICK)
    try:
        made.serve()
        yield made
    finally:
        for pid in [made.pid, *(agent.pid for agent in made.agents)]:
            if pid is not None:
                nursery.kill(pid)


def _here(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()
