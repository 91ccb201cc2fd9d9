"""The role `monitoring_role` gives a server what the agent needs of it, once, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pwd
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from agent.check import check
from agent.settings import Settings, TargetSettings
from infra.standalone.embedded import EmbeddedPostgres
from tests.ansible.controller import ansible
from tests.ansible.options import COLLECTION
from tests.servers import NewServer

ROLE = COLLECTION / "roles/monitoring_role"

pytestmark = [pytest.mark.processes, pytest.mark.any_version]

#: Whoever runs the server, and so may be its administrator and edit its files.
ACCOUNT = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

#: Without this, everybody who reaches the socket is let in as anybody.
_NOBODY_ELSE = "local all postgres trust\nlocal all all reject\nhost all all 127.0.0.1/32 reject\n"


@dataclass(frozen=True)
class Cluster:
    """A server of this test's own, which lets in its administrator alone."""

    server: EmbeddedPostgres
    folder: Path

    @property
    def hba(self) -> Path:
        return self.server.data / "pg_hba.conf"

    def play(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run the role; options are its own without their prefix, `tasks_from` is another entry point."""
        given: dict[str, object] = {
            "clusters": [{"dsn": f"host={self.server.directory} port={self.server.port} user=postgres"}],
            "account": ACCOUNT if os.geteuid() == 0 else "",
            "psql": str(self.server.directory / "psql"),
            "user": ACCOUNT,
            **options,
        }
        tasks_from = given.pop("tasks_from", "main")
        written, playbook = self.folder / "given.json", self.folder / "playbook.yml"
        written.write_text(json.dumps({f"pganalytics_monitoring_role_{name}": value for name, value in given.items()}))
        task = {"ansible.builtin.include_role": {"name": str(ROLE), "tasks_from": tasks_from}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        playbook.write_text(yaml.safe_dump([play]))
        home = self.folder / "home"
        return ansible("ansible-playbook", playbook, "--extra-vars", f"@{written}", *arguments, home=home)

    def changed(self, *arguments: str, **options: object) -> int:
        """How many changes the role made, or would make; it goes well."""
        done = self.play(*arguments, **options)
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
            "select oid, rolname, rolcanlogin, rolpassword from pg_authid where rolname !~ '^pg_' order by oid",
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
        program = server.directory / "psql"  # where the account that runs it may look
        library = server.programs.parent / "lib"
        program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={library} exec {server.programs}/psql "$@"\n')
        program.chmod(0o755)
        made.hba.write_text(_NOBODY_ELSE)
        made.ask("select pg_reload_conf()")
        yield made


def findings(cluster: Cluster) -> list[str]:
    """What the agent's own check says of the server, as the role."""
    dsn = cluster.server.dsn(user="pganalytics")
    settings = Settings(
        agent_id="db-1", state_directory=cluster.folder, targets=(TargetSettings(name="main", dsn=dsn),)
    )
    return [str(finding) for finding in check(settings).findings if finding.what.startswith("target")]


def test_the_agent_has_what_it_needs_once_the_server_was_restarted(cluster: Cluster) -> None:
    cluster.ask("create database shut")
    cluster.ask("revoke connect on database shut from public")
    cluster.ask('create schema quoted; create sequence quoted."it\'s"; create table t (id serial)', "shut")
    asked = {"user": pwd.getpwuid(os.geteuid()).pw_name, "preload": True}
    told = cluster.play(**asked)
    assert "A RESTART IS OWED" in told.stdout, told.stdout + told.stderr
    assert [finding for finding in findings(cluster) if "not loaded" in finding] != []
    cluster.server.restart()
    assert findings(cluster) == []
    told = cluster.play(**asked)
    assert "changed=0" in told.stdout
    assert "RESTART" not in told.stdout


def test_a_rehearsal_tells_of_the_same_changes_and_makes_none(cluster: Cluster) -> None:
    cluster.ask("create sequence there")
    before = cluster.state()
    rehearsed = cluster.changed("--check", "--diff", preload=True, password="a password")
    assert cluster.state() == before
    assert cluster.changed(preload=True, password="a password") == rehearsed > 0
    made = cluster.state()
    assert cluster.changed("--check", preload=True, password="a password") == 0
    assert cluster.changed(preload=True, password="a password") == 0
    assert cluster.state() == made


def test_the_role_may_look_and_nothing_else(cluster: Cluster) -> None:
    cluster.ask("create table secrets (secret text)")
    cluster.changed()
    ((may,),) = cluster.ask(
        "select array[rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls] from pg_roles"
        " where rolname = 'pganalytics'"
    )
    assert may == [False] * 5
    held = "select roleid::regrole::text from pg_auth_members where member = 'pganalytics'::regrole"
    assert cluster.ask(held) == [("pg_monitor",)]
    assert cluster.ask("select has_table_privilege('pganalytics', 'secrets', 'select')") == [(False,)]
    cluster.changed(read_all_data=True)
    assert cluster.ask("select has_table_privilege('pganalytics', 'secrets', 'select')") == [(True,)]


def test_its_account_gets_in_by_the_socket_and_nobody_gets_in_as_another(cluster: Cluster) -> None:
    assert cluster.as_agent() == ""
    cluster.changed()
    assert cluster.as_agent() == "pganalytics"
    cluster.ask("create role other login")
    assert cluster.as_agent(user="other") == ""
    assert cluster.changed(user="somebody-else") > 0
    assert cluster.as_agent() == "", "it is the account that counts"
    cluster.changed(hba="none")
    assert cluster.hba.read_text() == _NOBODY_ELSE


def test_the_libraries_that_were_there_stay_and_nothing_is_restarted(cluster: Cluster) -> None:
    cluster.ask("alter system set shared_preload_libraries = 'auto_explain', 'pg_prewarm'")
    started = cluster.ask("select pg_postmaster_start_time()")
    assert "does not load pg_stat_statements" in cluster.play().stdout
    assert "pg_stat_statements" not in (cluster.server.data / "postgresql.auto.conf").read_text()
    cluster.changed(preload=True)
    assert cluster.ask("select pg_postmaster_start_time()") == started
    cluster.server.restart()
    assert cluster.ask("show shared_preload_libraries") == [("auto_explain, pg_prewarm, pg_stat_statements",)]


def test_the_password_is_told_to_nobody_and_opens(cluster: Cluster) -> None:
    password = secrets.token_urlsafe() + " '\\\"$:{{"
    cluster.ask("alter system set log_statement = 'all'")
    cluster.ask("select pg_reload_conf()")
    done = cluster.play("-vvv", "--diff", hba="none", password={"__ansible_unsafe": password})
    assert done.returncode == 0, done.stdout
    for said in (done.stdout, done.stderr, cluster.server.log.read_text()):
        assert password not in said
        assert password[:40] not in said
    stored = "select rolpassword from pg_authid where rolname = 'pganalytics'"
    ((verifier,),) = cluster.ask(stored)
    assert opens(password, verifier)
    assert not opens(password + " ", verifier)
    assert verifier not in done.stdout
    assert cluster.changed(hba="none", password={"__ansible_unsafe": password}) == 0
    assert cluster.changed(hba="none", password="another") == 1


def opens(password: str, verifier: str) -> bool:
    """Whether libpq, given the salt of this verifier, would make the same."""
    head, _, keys = verifier.partition("$")[2].partition("$")
    iterations, _, salt = head.partition(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return base64.b64encode(key).decode() == keys.partition(":")[0]


def test_what_was_written_before_an_interruption_is_read_by_the_server(cluster: Cluster) -> None:
    cluster.changed()
    written = cluster.hba.read_text()
    cluster.changed(hba="none")
    cluster.hba.write_text(written)
    os.utime(cluster.hba, (time.time() + 5,) * 2)
    assert cluster.as_agent() == ""
    assert cluster.changed(user=ACCOUNT) >= 1
    assert cluster.as_agent() == "pganalytics"


def test_a_line_that_the_server_does_not_take_is_named(cluster: Cluster) -> None:
    cluster.hba.write_text(_NOBODY_ELSE + "local all all perhaps\n")
    done = cluster.play()
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "pg_hba.conf is not taken by the server" in said
    assert 'invalid authentication method \\"perhaps\\"' in said


@pytest.mark.parametrize(
    ("statement", "options", "said"),
    [
        ("select", {"hba": "scram-sha-256", "address": "10.0.0.0/8", "password": "x"}, "has ssl = off"),
        ("select", {"hba": "scram-sha-256", "password": "x"}, "needs the agent's address"),
        ("select", {"hba": "scram-sha-256", "address": "10.0.0.0/8"}, "and a password"),
        ("select", {"databases": ["nowhere"]}, "has no database nowhere; mend pganalytics_monitoring_role_databases"),
        ("select", {"name": "No name"}, "take a name of small letters"),
        ("select", {"password": "schlüssel"}, "letters that are not of ASCII"),
        ("select", {"hba": "trust"}, "value of pganalytics_monitoring_role_hba must be one of"),
        ("create role pganalytics login createdb", {}, "may do more than look; choose another name"),
    ],
    ids=["no tls", "no address", "no password", "no database", "name", "password", "hba", "mighty"],
)
def test_what_cannot_work_is_refused_before_anything_is_changed(
    cluster: Cluster, statement: str, options: dict[str, object], said: str
) -> None:
    cluster.ask(statement)
    assert said in cluster.refused(**options)


def test_a_login_that_is_no_superuser_prepares_what_it_may(cluster: Cluster) -> None:
    """As with a service whose files and libraries are set elsewhere."""
    cluster.ask("create role keeper login createrole; grant pg_monitor to keeper with admin option")
    cluster.hba.write_text("local all keeper trust\n" + _NOBODY_ELSE)
    cluster.ask("select pg_reload_conf()")
    clusters = [{"dsn": f"host={cluster.server.directory} port={cluster.server.port} user=keeper"}]
    assert "set pganalytics_monitoring_role_hba to none" in cluster.refused(clusters=clusters)
    asked: dict[str, object] = {"clusters": clusters, "hba": "none", "extension_databases": []}
    assert cluster.changed(**asked) > 0
    assert cluster.ask("select pg_has_role('pganalytics', 'pg_monitor', 'USAGE')") == [(True,)]
    assert cluster.changed(**asked) == 0


def test_a_removal_leaves_what_there_was_before(cluster: Cluster) -> None:
    cluster.ask("create database shut")
    cluster.ask("revoke connect on database shut from public")
    cluster.ask("create extension pg_stat_statements")
    cluster.ask("create sequence there")
    before = cluster.state()[:-4]
    cluster.changed()
    made = cluster.state()
    assert cluster.changed("--check", tasks_from="remove") > 0
    assert cluster.state() == made
    cluster.changed(tasks_from="remove")
    assert cluster.hba.read_text() == _NOBODY_ELSE
    after = cluster.state()[:-4]
    assert (after[0], after[1], after[3]) == (before[0], before[1], before[3])
    for old, new in ((before[2], after[2]), (before[4], after[4])):
        assert "pganalytics" not in str(new), old
    assert cluster.changed(tasks_from="remove") == 0


def test_what_owns_something_is_not_removed(cluster: Cluster) -> None:
    cluster.changed()
    cluster.ask("create table its (); alter table its owner to pganalytics")
    done = cluster.play(tasks_from="remove")
    assert done.returncode != 0
    assert "drop it by hand" in " ".join(done.stdout.split())
    assert cluster.ask("select tableowner from pg_tables where tablename = 'its'") == [("pganalytics",)]
