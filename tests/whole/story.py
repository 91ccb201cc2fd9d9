"""One whole installation on this machine: store, TLS server, operators, an enrolled agent, a watched PostgreSQL."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.authority import Authority
from tests.agent.program import Agent, target
from tests.infra.standalone.serving import Serving, fresh_command, make_keys, new_store, serving
from tests.nursery import ROOT
from tests.whole.seen import Seen

ADMIN, AGENT = "ada", "db-1"


def private(file: Path, text: str) -> Path:
    file.touch(0o600)
    file.write_text(text)
    return file


@dataclass
class Story:
    """The installation, and what was seen of it."""

    folder: Path
    seen: Seen
    dsn: str
    served: Serving
    tls: Authority
    watched: EmbeddedPostgres

    def say(self, *arguments: str | Path, ok: bool = True, told: bool = True) -> str:
        """Run `pganalytics`; what it prints counts as seen, unless printing a secret is what it is for."""
        environment = {"XDG_STATE_HOME": str(self.folder / "ada"), "PGANALYTICS_CA": str(self.tls.ca_file)}
        done = fresh_command(*arguments, **environment)
        if told:
            self.seen.add(f"output of {arguments[0]}", done.stdout)
        self.seen.add(f"output of {arguments[0]}", done.stderr)
        assert (done.returncode == 0) is ok, (arguments, done.stdout if told else "", done.stderr)
        return done.stdout

    def password(self, name: str) -> Path:
        """A file with a new password, which is among the planted secrets."""
        secret = f"plant-{secrets.token_hex(12)}"
        self.seen.planted[f"the password of {name}"] = secret
        return private(self.folder / f"{name}.password", secret)

    def enrolment_token(self, *more: str) -> Path:
        token = self.say("enrolment", "create", *more, told=False).strip()
        self.seen.planted[f"enrolment token {len(self.seen.planted)}"] = token
        return private(self.folder / f"enrolment-{len(self.seen.planted)}", token)

    def agent(self, name: str = AGENT) -> Agent:
        """An agent's settings, with nothing that proves who it is."""
        agent = Agent(self.folder / name)
        agent.folder.mkdir()
        passfile = private(agent.folder / "passfile", "")
        secret = f"plant-{secrets.token_hex(12)}"
        self.seen.planted[f"PostgreSQL's password of {name}"] = secret
        passfile.write_text(f"*:*:*:*:{secret}\n")
        log = f'log.files = ["{self.watched.data}/log/*.json"]\n'
        agent.settings.write_text(
            f'agent_id = "{name}"\nstate_directory = "{agent.state}"\n'
            f'[server]\nurl = "{self.served.url}"\nca_file = "{self.tls.ca_file}"\n'
            + target(f"{self.watched.dsn()} passfile={passfile}", log)
        )
        return agent

    def enrol(self, agent: Agent, token: Path, *more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "agent.main", "enrol", "--settings", agent.settings, "--token-file", token, *more],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        self.seen.add("output of enrol", done.stdout + done.stderr)
        return done


@contextmanager
def installed(folder: Path, store: EmbeddedPostgres, watched: EmbeddedPostgres, seen: Seen) -> Iterator[Story]:
    """Everything made as the documentation says, by its commands; the first admin is logged in."""
    folder.mkdir(exist_ok=True)
    tls, keys, authority = Authority(folder), folder / "keys.json", folder / "fleet.pem"
    make_keys(keys)
    assert fresh_command("authority", "create", "--authority-file", authority).returncode == 0
    client_ca = folder / "clients.pem"
    client_ca.write_text(fresh_command("authority", "show", "--authority-file", authority).stdout)
    dsn = _with_password(store, new_store(store), seen)
    for line in keys.read_text().splitlines():
        name, _, value = line.strip().partition(": ")
        if name == '"k"':
            seen.planted[f"key of tokens {len(seen.planted)}"] = value.strip('",')
    seen.planted["the authority's key"] = authority.read_text().splitlines()[2]
    # One file with certificate and key does for both options.
    tls_options = ("--tls-cert", tls.server_chain, "--tls-key", tls.server_chain, "--client-ca", client_ca)
    with serving(folder, dsn, *tls_options, "--authority-file", authority, fresh=True) as served:
        story = Story(folder, seen, dsn, served, tls, watched)
        made = fresh_command(
            *("users", "create", ADMIN, "--admin", "--password-file", story.password(ADMIN)), PGANALYTICS_STORE_DSN=dsn
        )
        assert made.returncode == 0, made.stderr
        story.say("login", "--server", served.url, "--user", ADMIN, "--password-file", folder / f"{ADMIN}.password")
        yield story
        assert served.stop() == 0
        seen.add("the server's log", "\n".join(map(str, served.lines)))


def _with_password(store: EmbeddedPostgres, dsn: str, seen: Seen) -> str:
    secret = f"plant-{secrets.token_hex(12)}"
    seen.planted["the store's password"] = secret
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"alter role postgres password '{secret}'".encode())
    return f"{dsn} password={secret}"
