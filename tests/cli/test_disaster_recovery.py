"""The store is lost, and made again of the bucket and a dump, by the commands of docs/how-to/disaster-recovery.md."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from contracts.codec import decode, encode, sha256
from contracts.objects import key_of
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import take
from functions.retention import Retention
from functions.store import Store
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.authority import Authority
from tests.agent.program import Agent
from tests.functions.ingest.stores import fleet
from tests.infra.standalone.serving import Serving, command, connected, loaded, new_store, serving, until
from tests.infra.standalone.test_transports import hasten
from tests.nursery import ROOT

pytestmark = pytest.mark.processes

LOST = ROOT / "docs" / "how-to" / "disaster-recovery.md"
RESTORED = ROOT / "docs" / "how-to" / "restore-the-store.md"

#: Computed anew where it is asked for, or forgotten on purpose; everything else has to come back.
COMPUTED = {"store.effective", "store.effective_body", "store.generation", "store.rollup_due"}
FORGOTTEN = {"identity.assertion", "identity.failure", "identity.refresh", "identity.session"}

_TABLES = b"""
select n.nspname || '.' || c.relname
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname in ('identity', 'store', 'metric', 'rollup')
"""

#: What step 2 leaves in the shell.
_EXPORTED = "export PGANALYTICS_STORE_DSN=service=pganalytics\n"

HOUR_US = 3_600_000_000


def commands(heading: str, page: Path = LOST) -> str:
    """What a reader is told to give to a shell below this heading of the page."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    assert blocks, f"{page}: nothing to do below {heading!r}"
    return "\n".join(re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in blocks)


def contents(dsn: str) -> dict[str, tuple[int, str]]:
    """Rows and checksum of every table there is, but for when the rows were written."""
    found = {}
    with connected(dsn) as connection:
        names = {name for (name,) in connection.execute(_TABLES)}
        assert names > COMPUTED | FORGOTTEN
        for name in sorted(names - COMPUTED - FORGOTTEN):
            row = connection.execute(
                sql.SQL(
                    """
                    select count(*), coalesce(md5(string_agg(said, E'\\n' order by said)), '')
                    from (
                        select (to_jsonb(t) - 'loaded_at' - 'quarantined_at')::text collate "C" as said from {} t
                    ) as t
                    """
                ).format(sql.Identifier(*name.split(".")))
            ).fetchone()
            assert row is not None
            found[name] = (int(row[0]), str(row[1]))
    return found


@dataclass
class Place:
    """A machine of an operator: a folder, PostgreSQL's programs, a service file, `pganalytics`."""

    folder: Path
    store: str
    server: EmbeddedPostgres
    bucket: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.service("pganalytics", self.store)
        program = self.folder / "pganalytics"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
        program.chmod(0o755)

    def service(self, name: str, dsn: str) -> None:
        """Let the service of this name lead there."""
        with (self.folder / "service.conf").open("a") as file:
            file.write("\n".join((f"[{name}]", *dsn.split(), "")))

    def do(self, script: str) -> str:
        """Give it to a shell, as it stands on the page; the bucket is this one."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PGANALYTICS_")}
        told = {
            "PATH": f"{self.folder}:{self.server.programs}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": str(self.server.programs.parent / "lib"),
            "PGSERVICEFILE": str(self.folder / "service.conf"),
            "PYTHONPATH": str(ROOT),
            "PSQLRC": "/dev/null",
            "PAGER": "cat",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", re.sub(r"s3://[a-z0-9-]+", f"file://{self.bucket}", script)],
            cwd=self.folder,
            env=kept | told,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout


def _name(dsn: str) -> sql.Identifier:
    return sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))


def _history(bucket: Path) -> list[bytes]:
    """Some agents' batches of three hours ago, and one that nobody can load."""
    made = [encode(each) for each in fleet(random.Random(8), time.time_ns() // 1000 - 3 * HOUR_US)]
    for data in made:
        DirectoryBucket(bucket).create(str(key_of(decode(data), sha256(data))), data)
    data = encode(decode(made[0]).model_copy(update={"seq": 1000}))
    DirectoryBucket(bucket).create(str(key_of(decode(data), sha256(data))), data[:-20])
    return made


_BEFORE_THE_BUCKET = b"""
select store.make_rollup_partitions((now() - interval '100 days')::date);
insert into rollup.host_load (target_id, hour, samples) values (1, date_trunc('hour', now() - interval '100 days'), 60);
"""


class Operator:
    """Somebody who logs in."""

    def __init__(self, running: Serving, ca: Path, password: Path) -> None:
        self._running, self._ca = running, ca
        said = {"name": "ann", "password": password.read_text().strip()}
        self.session = self.ask("POST", "/v1/auth/login", said)
        self.environment = {"PGANALYTICS_SERVER": running.url, "PGANALYTICS_CA": str(ca)}
        self.environment["PGANALYTICS_TOKEN"] = self.session["access_token"]

    def ask(self, method: str, path: str, body: Any = None, seen: int | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"If-Match": f'"{seen}"'} if seen else {})
        if hasattr(self, "session"):
            headers["Authorization"] = f"Bearer {self.session['access_token']}"
        answer = self._running.request(
            method, path, None if body is None else json.dumps(body).encode(), headers, self._ca
        )
        assert answer.status in {200, 201}, (method, path, answer.status, answer.data)
        return answer.json() if answer.data else None

    def enrol(self, agent: Agent, name: str) -> None:
        token = agent.folder / "enrolment"
        token.write_text(command("enrolment", "create", **self.environment).stdout)
        done = agent.ask("enrol", "--token-file", str(token), "--agent-id", name)
        assert (done.returncode, done.stderr) == (0, ""), done


def _agent(folder: Path, running: Serving, ca: Path) -> Agent:
    folder.mkdir(exist_ok=True)
    agent = Agent(folder)
    agent.settings.write_text(f'state_directory = "{agent.state}"\n[server]\nurl = "{running.url}"\nca_file = "{ca}"\n')
    return agent


def test_a_store_that_is_lost_is_made_again(server: EmbeddedPostgres, tmp_path: Path) -> None:
    dsn, tls = new_store(server), Authority(tmp_path)
    bucket, password = tmp_path / "bucket", tmp_path / "password"
    bucket.mkdir(0o700)
    password.write_text("not an easy one to guess\n")
    password.chmod(0o600)
    place = Place(tmp_path / "operator", dsn, server, bucket)
    made = _history(bucket)
    authority = tmp_path / "authority.pem"
    assert command("authority", "create", "--authority-file", authority).returncode == 0
    store = {"PGANALYTICS_STORE_DSN": dsn}
    assert command("users", "create", "ann", "--admin", "--password-file", password, **store).returncode == 0
    assert command("replay", "--bucket-url", f"file://{bucket}", **store).returncode == 1  # one is in quarantine
    options: list[str | Path] = ["--tls-cert", tls.server_chain, "--tls-key", tls.server_chain]
    options += ["--authority-file", authority, "--bucket-url", f"file://{bucket}"]
    folder = tmp_path / "server"

    with serving(folder, dsn, *options) as running:
        operator = Operator(running, tls.ca_file, password)
        agent = _agent(tmp_path / "agent", running, tls.ca_file)
        hasten(dsn, agent.state)
        operator.enrol(agent, "db-117")
        before = loaded(dsn)
        with agent.running():
            until(lambda: loaded(dsn) > before)
        until(lambda: loaded(dsn) == len(list(bucket.rglob("*.json.gz"))) - 1)
        _configure(operator)
        assert command("maintain", "rollup", **store).returncode == 0
        with connected(dsn) as connection:
            connection.execute(_BEFORE_THE_BUCKET)
        place.do(commands("1. Keep a copy, every hour"))
        was = contents(dsn)
        late = _agent(tmp_path / "late", running, tls.ca_file)
        operator.enrol(late, "db-118")
        assert running.stop() == 0

    with connected(server.dsn()) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(_name(dsn)))
        connection.execute(sql.SQL("create database {}").format(_name(dsn)))
    place.do(commands("2. Make the store again"))
    replayed = commands("3. Load what is in the bucket").replace("pganalytics replay\n", "pganalytics replay || true\n")
    told = place.do(_EXPORTED + replayed)
    assert f"{loaded(dsn)} loaded, 0 there already, 1 in quarantine" in told
    assert contents(dsn) == was

    with serving(folder, dsn, *options) as running:
        # Whom the dump has is known as before, and goes on.
        operator = Operator(running, tls.ca_file, password)
        agent, late = _agent(agent.folder, running, tls.ca_file), _agent(late.folder, running, tls.ca_file)
        checked = agent.ask("check")
        assert checked.returncode == 0, checked
        before = loaded(dsn)
        with agent.running():
            until(lambda: loaded(dsn) > before)
        assert operator.ask("GET", "/v1/documents/group:web")["version"] == 3
        assert operator.ask("GET", "/v1/releases")["items"][0]["state"] == "paused"
        operator.ask("PUT", "/v1/documents/fleet", {"document": {"preset": "minimal"}}, 1)
        # Whom it has not has to enrol anew.
        assert "not enrolled here" in late.ask("check").stdout
        shutil.rmtree(late.state / "identity")
        operator.enrol(late, "db-118")
        assert late.ask("check").returncode == 0
        # What was loaded is not loaded again, neither from the bucket nor when it is sent once more.
        until(lambda: loaded(dsn) == len(list(bucket.rglob("*.json.gz"))) - 1)
        rows = contents(dsn)
        for data in made[:3]:
            token = running.token("--agent", decode(data).agent_id)
            assert running.post(data, token, tls.ca_file).status == 202
        again = command("replay", "--json", "--bucket-url", f"file://{bucket}", **store)
        assert json.loads(again.stdout)["new"] == 0
        look = commands("4. Look").partition("rm -r")[0]
        told = place.do(f"{_EXPORTED}export PGANALYTICS_BUCKET_URL=s3://my-batches\n{look}")
        assert "1 that the store has not" in told  # which is in quarantine
        assert _of_batches(contents(dsn)) == _of_batches(rows)
        assert running.stop() == 0


def _of_batches(found: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    return {name: said for name, said in found.items() if name.startswith("metric.") or name == "store.ledger"}


def _configure(operator: Operator) -> None:
    """A group with two versions and a third on its way to it, and an agent with a label."""
    group = {"selector": {"role": "web"}, "priority": 1}
    for version, preset in enumerate(("minimal", "standard")):
        operator.ask("PUT", "/v1/documents/group:web", {"document": {"preset": preset}, "group": group}, version)
    operator.ask("PUT", "/v1/agents/db-117/labels", {"labels": {"role": "web"}})
    draft = {"document": {"upload_every_seconds": 30}, "group": group, "activate": False}
    operator.ask("PUT", "/v1/documents/group:web", draft, 2)
    release = operator.ask("POST", "/v1/releases", {"scope": "group:web", "stages": ["canary", "100%"]})
    operator.ask("POST", f"/v1/releases/{release['id']}/pause")


def test_a_store_that_is_restored_to_an_earlier_second_gets_what_came_since(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    dsn, bucket = new_store(server), tmp_path / "bucket"
    bucket.mkdir(0o700)
    place = Place(tmp_path / "operator", dsn, server, bucket)
    store = Store(SecretStr(dsn), "tests")
    now = time.time_ns() // 1000
    for number, at in enumerate((now - 6 * HOUR_US, now - HOUR_US // 2)):
        for each in fleet(random.Random(number), at):
            data = encode(each)
            key = str(key_of(each, sha256(data)))
            DirectoryBucket(bucket).create(key, data)
            assert take([key], DirectoryBucket(bucket), store, Retention(30)) == {}
        if number == 0:  # and so it is restored to here
            store.close()
            restored = sql.Identifier(f"restored_{os.getpid()}")
            with connected(server.dsn()) as connection:
                connection.execute(sql.SQL("create database {} template {}").format(restored, _name(dsn)))
            place.service("restored", server.dsn(f"restored_{os.getpid()}"))
    store.close()
    hour_before = datetime.now(UTC) - timedelta(hours=3)
    told = place.do(commands("2. Load the gap", RESTORED).replace("2026-01-30T01:55:00Z", hour_before.isoformat()))
    assert "24 loaded, 0 there already, 0 in quarantine, 0 failed" in told
    assert contents(server.dsn(f"restored_{os.getpid()}")) == contents(dsn)
