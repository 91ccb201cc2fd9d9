"""A real server process, and a real batch to send to it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import psycopg
import urllib3
from typer.testing import CliRunner

from agent.transports.outcome import Upload
from cli.main import app
from contracts.batch import Batch, Frame, Run, Status
from contracts.codec import decode, encode
from infra.standalone.embedded import EmbeddedPostgres
from tests.nursery import ROOT, Program, nursery
from tests.servers import store_template

SECONDS = 30.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that nothing tells of."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.02)


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def new_store(server: EmbeddedPostgres, *, migrated: bool = True) -> str:
    """The DSN of a new database."""
    name = f"store_{secrets.token_hex(6)}"
    template = store_template(server) if migrated else "template1"
    with connected(server.dsn()) as connection:
        connection.execute(f"create database {name} template {template}".encode())
    return server.dsn(name)


def batch(seq: int = 1, *, agent_id: str = "db-1", stream_id: UUID | None = None) -> bytes:
    now = time.time_ns() // 1000
    return encode(
        Batch(
            agent_id=agent_id,
            stream_id=stream_id or uuid4(),
            seq=seq,
            sent_at=now,
            agent_version="0.1.0",
            frames=(Frame(metric="host_load", target="host", collected_at=now, columns={"threads": [seq]}),),
            runs=(
                Run(
                    collector="host_load",
                    target="host",
                    started_at=now,
                    duration_us=5,
                    status=Status.OK,
                    rows=1,
                ),
            ),
        )
    )


def upload(data: bytes) -> Upload:
    """The batch as an agent's transport is given it."""
    sent = decode(data)
    return Upload(data, sent.stream_id, sent.seq, sent.sent_at)


def loaded(dsn: str) -> int:
    with connected(dsn) as connection:
        row = connection.execute("select count(*) from store.ledger").fetchone()
    assert row is not None
    return int(row[0])


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `pganalytics` to its end."""
    return nursery().run("pganalytics", *arguments, environment=_environment(environment), timeout=SECONDS)


def fresh_command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same as a shell starts it, with a command line to be seen."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        cwd=ROOT,
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def make_keys(file: Path) -> None:
    _here("keys", "create", "--keys-file", file)


def _here(*arguments: str | Path) -> str:
    # In this process, for a process of its own takes a second.
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PGANALYTICS_")}
    # Nobody is logged in, whoever runs the tests.
    return {**kept, "COLUMNS": "200", "XDG_STATE_HOME": "/nonexistent", **given}


@dataclass
class Serving:
    """A server: its process, its folder, and everything it logs, which comes from `errors`."""

    process: Program | subprocess.Popen[bytes]
    folder: Path
    errors: IO[str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _reader: threading.Thread | None = None

    def read(self) -> None:
        with self.errors as log:
            for line in log:
                with self._changed:
                    self.lines.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self.lines.append({"event": "end of the log"})
            self._changed.notify_all()

    def log(self, event: str) -> dict[str, Any]:
        """The first log line of this event, waiting for it."""

        def find() -> dict[str, Any] | None:
            return next((line for line in self.lines if line["event"] == event), None)

        with self._changed:
            self._changed.wait_for(lambda: find() or (self.lines and "end of" in self.lines[-1]["event"]), SECONDS)
            found = find()
        assert found, f"no log line {event!r} among {self.lines}"
        return found

    @property
    def url(self) -> str:
        return str(self.log("listening")["url"])

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.partition("//")[2].rpartition(":")
        return host, int(port)

    @property
    def keys_file(self) -> Path:
        return self.folder / "keys.json"

    def token(self, *whom: str) -> str:
        made = _here("token", "issue", "--keys-file", self.keys_file, *(whom or ("--agent", "db-1")))
        return made.strip()

    def post(self, data: bytes, token: str, ca: Path | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/gzip"}
        return self.request("POST", "/v1/batches", data, headers, ca)

    def request(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        ca: Path | None = None,
    ) -> urllib3.BaseHTTPResponse:
        context = ssl.create_default_context(cafile=ca)
        with urllib3.PoolManager(timeout=SECONDS, retries=False, ssl_context=context) as pool:
            return pool.request(method, self.url + path, body=data, headers=headers)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, and answer the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(SECONDS)
        if self._reader:
            self._reader.join(SECONDS)
        return code

    def start_reading(self) -> None:
        self._reader = threading.Thread(target=self.read, daemon=True)
        self._reader.start()


@contextmanager
def serving(
    folder: Path, dsn: str | None, *arguments: str | Path, fresh: bool = False, **environment: str
) -> Iterator[Serving]:
    """A server on a free port with its data below the folder, as it was left there by the one before.

    `fresh` starts it as a shell would, with a command line to be seen.
    """
    folder.mkdir(exist_ok=True)
    keys = folder / "keys.json"
    if not keys.exists():
        make_keys(keys)
    environment = _environment(environment | ({} if dsn is None else {"PGANALYTICS_STORE_DSN": dsn}))
    ours, theirs = os.pipe()
    command = ("serve", "--port", "0", "--data-dir", folder / "data", "--keys-file", keys, *arguments)
    process: Program | subprocess.Popen[bytes]
    if fresh:
        line = [sys.executable, "-m", "cli.main", *map(str, command)]
        process = subprocess.Popen(line, cwd=ROOT, env=environment, stderr=theirs)
    else:
        process = nursery().open("pganalytics", *command, environment=environment, stderr=theirs)
    os.close(theirs)
    running = Serving(process, folder, os.fdopen(ours))
    running.start_reading()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        running.wait()
