"""The role `monitoring_role` gives a server what the agent needs of it, once, and nothing else."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.lines import withheld
from agent.postgres.connection import SessionError
from agent.postgres.session import Session
from contracts.batch import Status
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres
from tests.ansible.controller import ansible
from tests.ansible.options import COLLECTION
from tests.servers import NewServer

ROLE = COLLECTION / "roles/monitoring_role"

pytestmark = pytest.mark.processes

#: Whoever runs the server, and so may be its administrator and edit its files.
ACCOUNT = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

#: Without this, everybody who reaches the socket is let in as anybody.
_NOBODY_ELSE = "local all postgres trust\nlocal all all reject\nhost all all 127.0.0.1/32 reject\n"


@dataclass(frozen=True)
class Cluster:
    """A server of this test's own, which lets in its administrator alone."""

    server: EmbeddedPostgres
    folder: Path
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def hba(self) -> Path:
        return self.server.data / "pg_hba.conf"

    def play(self, *arguments: str, tasks_from: str = "main", **options: object) -> subprocess.CompletedProcess[str]:
        """Run the role; options are its own without their prefix."""
        given = {
            "clusters": [{"dsn": f"host={self.server.directory} port={self.server.port} user=postgres"}],
            "account": ACCOUNT if os.geteuid() == 0 else "",
            "psql": str(self.folder / "psql"),
            "user": ACCOUNT,
            **options,
        }
        written, playbook = self.folder / "given.json", self.folder / "playbook.yml"
        written.write_text(json.dumps({f"pganalytics_monitoring_role_{name}": value for name, value in given.items()}))
        task = {"ansible.builtin.include_role": {"name": str(ROLE), "tasks_from": tasks_from}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        playbook.write_text(yaml.safe_dump([play]))
        home = self.folder / "home"
        return ansible("ansible-playbook", playbook, "--extra-vars", f"@{written}", *arguments, home=home)

    def changed(self, *arguments: str, tasks_from: str = "main", **options: object) -> int:
        """How many changes the role made, or would make; it goes well."""
        done = self.play(*arguments, tasks_from=tasks_from, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"changed=(\d+)", done.stdout)
        assert found is not None
        return int(found[1])

    def refused(self, **options: object) -> str:
        """What the role says when it does not do it; nothing has been changed."""
        before = self.state()
        done = self.play(**options)
        assert done.returncode != 0, done.stdout
        assert self.state() == before
        return " ".join(done.stdout.replace("\\n", " ").split())

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def state(self) -> tuple[object, ...]:
        """Everything that the role may change."""
        tables = (
            "select oid, rolname, rolsuper, rolcanlogin, rolpassword from pg_authid where rolname !~ '^pg_' order by oid",
            "select roleid, member from pg_auth_members order by 1, 2",
            "select datname, datacl::text from pg_database order by 1",
            "select extname from pg_extension order by 1",
            "select oid, relacl::text from pg_class where relkind = 'S' order by 1",
            "select pg_conf_load_time()",
        )
        files = [self.server.data / name for name in ("pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf")]
        return (*map(self.ask, tables), *(file.read_text() for file in files))

    def as_agent(self, database: str = "postgres", user: str = "pganalytics") -> str:
        """What the server says to the agent's account when it logs in by the socket."""
        given = f"host={self.server.directory} port={self.server.port} dbname={database} user={user}"
        return self.server.run("psql", given, "--no-psqlrc", "-Atc", "select current_user", check=False).stdout.strip()


@pytest.fixture
def cluster(new_server: NewServer, tmp_path: Path) -> Iterator[Cluster]:
    with new_server() as server:
        made = Cluster(server, tmp_path)
        program = tmp_path / "psql"
        library = server.programs.parent / "lib"
        program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={library} exec {server.programs}/psql "$@"\n')
        _open(program)
        made.hba.write_text(_NOBODY_ELSE)
        made.ask("select pg_reload_conf()")
        yield made


def _open(program: Path) -> None:
    """Let every account run it."""
    program.chmod(0o755)
    for folder in list(program.parents)[:-2]:
        if folder.owner() == pwd.getpwuid(os.geteuid()).pw_name:
            folder.chmod(folder.stat().st_mode | 0o011)
