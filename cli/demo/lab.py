"""What the demo starts, and ends again: two PostgreSQL servers, the standalone server, an agent, pgbench."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from contracts.metrics import CATALOGUE
from infra.standalone.embedded import (
    THROWAWAY,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    binaries,
    embedded_postgres,
    uninterrupted,
)

#: The agent of the demo, the target it watches, and the database that pgbench works in.
AGENT, TARGET, DATABASE = "demo", "watched", "bench"

#: Quick enough to look at: the defaults are a minute.
_DOCUMENT = {
    "upload_every_seconds": 1,
    "pull_every_seconds": 5,
    "metrics": {
        name: {"every_seconds": 2 if metric.every_seconds <= 300 else 10} for name, metric in CATALOGUE.items()
    },
    # Everything every two seconds is more than an agent may take by default.
    "budget": {"cpu_share": None, "database_share": None, "upload_bytes_per_hour": None},
}

_WATCHED_SETTINGS = {
    **THROWAWAY,
    "shared_preload_libraries": "pg_stat_statements",
    "compute_query_id": "on",
    "track_io_timing": "on",
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_min_duration_statement": "20",
    "log_autovacuum_min_duration": "0",
    "log_checkpoints": "on",
}

_STOP_SECONDS = 20


class DemoError(Exception):
    """A part of the demo did not start or ended; the message has its last words."""


@dataclass(frozen=True)
class Lab:
    """What runs."""

    folder: Path
    store: EmbeddedPostgres
    watched: EmbeddedPostgres
    url: str
    processes: Mapping[str, subprocess.Popen[bytes]]

    def check(self) -> None:
        """Raises DemoError where a process has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise DemoError(f"the {name} ended with {process.returncode}: {_last_words(self.folder, name)}")

    def pgbench(self, *arguments: str) -> list[str | Path]:
        """The command line of pgbench on the watched server."""
        return [binaries() / "pgbench", *arguments, *_connection(self.watched), DATABASE]


def _connection(server: EmbeddedPostgres) -> list[str]:
    return ["-h", str(server.directory), "-p", str(server.port), "-U", "postgres"]


@contextmanager
def lab(tell: Callable[[str], None], scale: int) -> Iterator[Lab]:
    """Start everything, in order; end it in the opposite order, whatever happens. `tell` is given each step."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pganalytics-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            tell("starting the store and the watched server (PostgreSQL 18)")
            store = stack.enter_context(embedded_postgres())
            watched = stack.enter_context(embedded_postgres(_WATCHED_SETTINGS))
            tell(f"filling the database {DATABASE} for pgbench, scale {scale}")
            watched.run("createdb", *_connection(watched), DATABASE)
            watched.run("pgbench", "-i", "-q", "-s", str(scale), *_connection(watched), DATABASE)
            watched.run("psql", "-Xq", *_connection(watched), "-c", "create extension pg_stat_statements", "postgres")
            # Once, so that the first readings know its statements: differences count from there.
            watched.run("pgbench", "-n", "-t", "1", *_connection(watched), DATABASE)
            tell("migrating the store and starting the server")
            url = _start_server(stack, folder, store, processes)
            _save_document(store)
            tell("starting the agent")
            _start_agent(stack, folder, watched, url, processes)
        except (EmbeddedPostgresError, OSError) as error:
            raise DemoError(str(error)) from error
        yield Lab(folder, store, watched, url, processes)


def _start_server(
    stack: ExitStack, folder: Path, store: EmbeddedPostgres, processes: dict[str, subprocess.Popen[bytes]]
) -> str:
    keys, ready = folder / "keys.json", folder / "ready.json"
    _run("keys", "create", "--keys-file", str(keys))
    token = _run("token", "issue", "--keys-file", str(keys), "--agent", AGENT, "--ttl", "7d")
    _private(folder / "token").write_text(token)
    serve = ["serve", "--data-dir", str(folder / "server"), "--keys-file", str(keys), "--port", "0", "--migrate"]
    server = _start(
        stack,
        folder,
        "server",
        ["cli.main", *serve, "--ready-file", str(ready)],
        {"PGANALYTICS_STORE_DSN": store.dsn()},
    )
    processes["server"] = server
    deadline = time.monotonic() + 60
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise DemoError(f"the server did not start: {_last_words(folder, 'server')}")
        time.sleep(0.05)
    return str(json.loads(ready.read_text())["url"])


def _save_document(store: EmbeddedPostgres) -> None:
    body = json.dumps(_DOCUMENT)
    with psycopg.connect(store.dsn()) as connection:
        connection.execute(
            """
            insert into store.document (scope, version, body, sha256, author, comment)
            values (
                'fleet', 1, %(body)s::text::jsonb, sha256(convert_to(%(body)s::text, 'UTF8')), 'demo', 'quick'
            )
            """,
            {"body": body},
        )


def _start_agent(
    stack: ExitStack,
    folder: Path,
    watched: EmbeddedPostgres,
    url: str,
    processes: dict[str, subprocess.Popen[bytes]],
) -> None:
    settings = folder / "agent.toml"
    settings.write_text(
        f"""
agent_id = "{AGENT}"
state_directory = "{folder}/agent"

[server]
url = "{url}"
token_file = "{folder}/token"

[[targets]]
name = "{TARGET}"
dsn = "{watched.dsn()}"
log.files = ["{watched.data}/log/*.json"]
"""
    )
    processes["agent"] = _start(stack, folder, "agent", ["agent.main", "run", "--settings", str(settings)], {})


def _start(
    stack: ExitStack, folder: Path, name: str, module: list[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log, uninterrupted():
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, in our order
        )
        stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait()


def _run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "cli.main", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"pganalytics {' '.join(arguments[:2])}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def _private(path: Path) -> Path:
    path.touch(mode=0o600)
    return path


def _last_words(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text(errors="replace").strip()[-1500:]
