"""The standalone server on the fleet's network: TLS, a store of its own, and a document that asks for haste."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra.standalone.embedded import THROWAWAY, embedded_postgres
from tests.agent.authority import Authority
from tests.fleet.hosts import CONTROL_ADDRESS, SECONDS, Network, run
from tests.nursery import ROOT

#: One metric of the host, one of PostgreSQL, who that is, and its log.
_OFTEN = ("host_load", "archiver", "cluster", "log_event")

_DOCUMENT = {
    "upload_every_seconds": 1,
    "pull_every_seconds": 5,
    "metrics": {name: {"every_seconds": 2} for name in _OFTEN},
}


@dataclass(frozen=True)
class Central:
    """A running server."""

    network: Network
    folder: Path
    url: str
    ca_file: Path
    store_dsn: str

    def token(self, agent_id: str) -> str:
        """A new access token for this agent."""
        return _pganalytics("token", "issue", "--keys-file", _keys(self.folder), "--agent", agent_id, "--ttl", "1d")

    def operator_token(self, role: str) -> str:
        """A new access token for an operator of this role."""
        given = ("--operator", "keeper", "--role", role, "--ttl", "1d")
        return _pganalytics("token", "issue", "--keys-file", _keys(self.folder), *given)

    def enrolment_token(self, uses: int = 1) -> str:
        """A new token to enrol with, as an operator makes it."""
        token = self.folder / "operator.token"
        token.write_text(self.operator_token("admin"))
        token.chmod(0o600)
        asked = ("--server", self.url, "--ca", self.ca_file, "--token-file", token)
        return _pganalytics("enrolment", "create", "--uses", str(uses), *asked, inside=self.network.inside)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def objects(self, agent_id: str) -> list[Path]:
        """This agent's batches in the bucket."""
        return sorted((self.folder / "data/bucket/batches/v1" / f"agent={agent_id}").rglob("*.json.gz"))

    def asked(self, sql: bytes, *values: object) -> list[tuple[object, ...]]:
        """What the store answers."""
        with psycopg.connect(self.store_dsn) as connection:
            return connection.execute(sql, values).fetchall()


@contextmanager
def serving(network: Network) -> Iterator[Central]:
    """Serve the hosts of this network."""
    folder = network.folder / "central"
    folder.mkdir()
    authority = Authority(folder, CONTROL_ADDRESS)
    _pganalytics("keys", "create", "--keys-file", _keys(folder))
    _pganalytics("authority", "create", "--authority-file", folder / "authority.pem")
    ready, log = folder / "ready.json", folder / "log"
    with embedded_postgres(dict(THROWAWAY)) as store, log.open("wb") as lines:
        process = subprocess.Popen(
            [
                *(*network.inside, sys.executable, "-m", "cli.main", "serve", "--migrate"),
                *("--host", CONTROL_ADDRESS, "--port", "0", "--data-dir", folder / "data", "--ready-file", ready),
                *("--keys-file", _keys(folder), "--authority-file", folder / "authority.pem"),
                *("--tls-cert", authority.server_chain, "--tls-key", authority.server_chain),
            ],
            cwd=ROOT,
            env={**os.environ, "PGANALYTICS_STORE_DSN": store.dsn()},
            stderr=lines,
        )
        try:
            until(lambda: ready.exists() or process.poll() is not None, "the server did not start")
            assert process.poll() is None, log.read_text()
            _save_document(store.dsn())
            url = json.loads(ready.read_text())["url"]
            yield Central(network, folder, url, authority.ca_file, store.dsn())
        finally:
            process.terminate()
            process.wait(SECONDS)


def until(condition: Callable[[], bool], otherwise: str, seconds: float = SECONDS) -> None:
    """Wait for a condition that nothing tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        threading.Event().wait(0.1)


def _keys(folder: Path) -> Path:
    return folder / "keys.json"


def _pganalytics(*arguments: str | Path, inside: Sequence[str] = ()) -> str:
    return run(*inside, sys.executable, "-m", "cli.main", *arguments).strip()


def _save_document(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            insert into store.document (scope, version, body, sha256, author, comment)
            values ('fleet', 1, %(body)s::text::jsonb, sha256(convert_to(%(body)s::text, 'UTF8')), 'test', 'haste')
            """,
            {"body": json.dumps(_DOCUMENT)},
        )
