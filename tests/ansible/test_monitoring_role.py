"""The role `monitoring_role` gives a server what the agent needs of it, once, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pwd
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from agent.check import check
from agent.settings import Settings, TargetSettings
from infra.standalone.embedded import EmbeddedPostgres
from tests.ansible.controller import Played, play
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

    def play(self, *arguments: str, tasks_from: str = "main", **options: object) -> Played:
        """Run the role, or another entry point of it; options are its own without their prefix."""
        return self.tried({"host": options}, *arguments, tasks_from=tasks_from)

    def tried(self, cases: Mapping[str, Mapping[str, object]], *arguments: str, tasks_from: str = "main") -> Played:
        """The same with several sets of options at once, each of which is a host's."""
        shared = {
            "clusters": [{"dsn": f"host={self.server.directory} port={self.server.port} user=postgres"}],
            "account": ACCOUNT if os.geteuid() == 0 else "",
            "psql": str(self.server.directory / "psql"),
            "user": ACCOUNT,
        }
        reached = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts = {
            case: reached
            | {f"pganalytics_monitoring_role_{name}": value for name, value in {**shared, **given}.items()}
            for case, given in cases.items()
        }
        inventory, playbook = self.folder / "hosts.json", self.folder / "playbook.yml"
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        task = {"ansible.builtin.include_role": {"name": str(ROLE), "tasks_from": tasks_from}}
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        forks = ("--forks", str(len(hosts)))
        return play(playbook, "--inventory", inventory, *forks, *arguments, home=self.folder / "home")

    def changed(self, *arguments: str, tasks_from: str = "main", **options: object) -> int:
        """How many changes the role made, or would make; it goes well."""
        return self.play(*arguments, tasks_from=tasks_from, **options).well().changed

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


def test_a_server_is_prepared_once_and_a_rehearsal_tells_of_that(cluster: Cluster) -> None:
    cluster.ask("create database shut")
    cluster.ask("revoke connect on database shut from public")
    cluster.ask("create table secrets (secret text); create sequence there; create role other login")
    cluster.ask("alter system set shared_preload_libraries = 'auto_explain', 'pg_prewarm'")
    cluster.ask("alter system set log_statement = 'all'")
    cluster.ask("select pg_reload_conf()")
    before, started = cluster.state(), cluster.ask("select pg_postmaster_start_time()")
    password = secrets.token_urlsafe() + " '\\\"$:{{"
    asked: dict[str, Any] = {"preload": True, "password": {"__ansible_unsafe": password}}

    rehearsed = cluster.play("--check", "--diff", "-vvv", **asked).well()
    assert cluster.state() == before
    first = cluster.play("--diff", "-vvv", **asked).well()
    assert first.changed == rehearsed.changed > 0

    # It may look, and nothing else.
    ((may,),) = cluster.ask(
        "select array[rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls] from pg_roles"
        " where rolname = 'pganalytics'"
    )
    assert may == [False] * 5
    held = "select roleid::regrole::text from pg_auth_members where member = 'pganalytics'::regrole"
    assert cluster.ask(held) == [("pg_monitor",)]
    assert cluster.ask(_MAY_READ) == [(False,)]
    # Its account gets in by the socket, and as nobody else.
    assert cluster.as_agent() == "pganalytics"
    assert cluster.as_agent(user="other") == ""
    # The password is told to nobody, and opens.
    ((verifier,),) = cluster.ask(_VERIFIER)
    assert opens(password, verifier)
    assert not opens(password + " ", verifier)
    for said in (rehearsed.output, first.output, cluster.server.log.read_text()):
        assert password not in said
        assert password[:40] not in said
    assert verifier not in first.output
    # Nothing is restarted by surprise, and the libraries that were there stay.
    assert "A RESTART IS OWED" in first.output
    assert cluster.ask("select pg_postmaster_start_time()") == started
    cluster.server.restart()
    assert cluster.ask("show shared_preload_libraries") == [("auto_explain, pg_prewarm, pg_stat_statements",)]

    again = cluster.play(**asked).well()
    assert again.changed == 0
    assert "RESTART" not in again.output


_MAY_READ = "select has_table_privilege('pganalytics', 'secrets', 'select')"
_VERIFIER = "select rolpassword from pg_authid where rolname = 'pganalytics'"


def test_the_agent_finds_all_that_it_needs_once_the_server_was_restarted(cluster: Cluster) -> None:
    cluster.ask("create database shut")
    cluster.ask("revoke connect on database shut from public")
    cluster.ask('create schema quoted; create sequence quoted."it\'s"; create table t (id serial)', "shut")
    cluster.changed(preload=True, user=pwd.getpwuid(os.geteuid()).pw_name)
    assert [finding for finding in findings(cluster) if "not loaded" in finding] != []
    cluster.server.restart()
    assert findings(cluster) == []


def test_other_options_change_what_there_is(cluster: Cluster) -> None:
    cluster.ask("create table secrets (secret text)")
    assert cluster.as_agent() == ""
    first = cluster.play(password="one").well()
    assert "does not load pg_stat_statements" in first.output
    assert "pg_stat_statements" not in (cluster.server.data / "postgresql.auto.conf").read_text()
    assert cluster.as_agent() == "pganalytics"
    written = cluster.hba.read_text()

    cluster.changed(read_all_data=True, user="somebody-else", password="another")
    assert cluster.ask(_MAY_READ) == [(True,)]
    assert cluster.as_agent() == "", "it is the account that counts"
    ((verifier,),) = cluster.ask(_VERIFIER)
    assert opens("another", verifier)

    cluster.changed(hba="none")
    assert cluster.hba.read_text() == _NOBODY_ELSE
    # Written before an interruption, and not yet read by the server.
    cluster.hba.write_text(written)
    os.utime(cluster.hba, (time.time() + 5,) * 2)
    assert cluster.as_agent() == ""
    assert cluster.changed() >= 1
    assert cluster.as_agent() == "pganalytics"

    cluster.hba.write_text(_NOBODY_ELSE + "local all all perhaps\n")
    refused = cluster.play()
    assert refused.failed == {"host"}
    assert "pg_hba.conf is not taken by the server" in refused.words
    assert 'invalid authentication method \\"perhaps\\"' in refused.words


def opens(password: str, verifier: str) -> bool:
    """Whether libpq, given the salt of this verifier, would make the same."""
    head, _, keys = verifier.partition("$")[2].partition("$")
    iterations, _, salt = head.partition(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return base64.b64encode(key).decode() == keys.partition(":")[0]


#: What cannot work, by the name of a host that stands for it, and what is said of it.
_REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no-tls": ({"hba": "scram-sha-256", "address": "10.0.0.0/8", "password": "x"}, "has ssl = off"),
    "no-address": ({"hba": "scram-sha-256", "password": "x"}, "needs the agent's address"),
    "no-password": ({"hba": "scram-sha-256", "address": "10.0.0.0/8"}, "and a password"),
    "no-database": (
        {"databases": ["nowhere"]},
        "has no database nowhere; mend pganalytics_monitoring_role_databases",
    ),
    "name": ({"name": "No name"}, "take a name of small letters"),
    "password": ({"password": "schlüssel"}, "letters that are not of ASCII"),
    "hba": ({"hba": "trust"}, "value of pganalytics_monitoring_role_hba must be one of"),
    "mighty": ({"name": "mighty"}, "may do more than look; choose another name"),
}


def test_what_cannot_work_is_refused_before_anything_is_changed(cluster: Cluster) -> None:
    cluster.ask("create role mighty login createdb")
    before = cluster.state()
    refused = cluster.tried({case: options for case, (options, _) in _REFUSED.items()})
    assert (refused.failed, refused.changed) == (set(_REFUSED), 0), refused.output
    said = refused.said()
    assert [case for case, (_, mend) in _REFUSED.items() if mend not in said[case]] == [], said
    assert cluster.state() == before


def test_a_login_that_is_no_superuser_prepares_what_it_may(cluster: Cluster) -> None:
    """As with a service whose files and libraries are set elsewhere."""
    cluster.ask("create role keeper login createrole; grant pg_monitor to keeper with admin option")
    cluster.hba.write_text("local all keeper trust\n" + _NOBODY_ELSE)
    cluster.ask("select pg_reload_conf()")
    clusters = [{"dsn": f"host={cluster.server.directory} port={cluster.server.port} user=keeper"}]
    asked: dict[str, Any] = {"clusters": clusters, "hba": "none", "extension_databases": []}
    first = cluster.tried({"whole": {"clusters": clusters}, "less": asked})
    assert first.failed == {"whole"}, first.output
    assert "set pganalytics_monitoring_role_hba to none" in first.words
    assert cluster.ask("select pg_has_role('pganalytics', 'pg_monitor', 'USAGE')") == [(True,)]
    assert cluster.changed(**asked) == 0


def test_a_removal_leaves_what_there_was_before_unless_something_is_owned(cluster: Cluster) -> None:
    cluster.ask("create database shut")
    cluster.ask("revoke connect on database shut from public")
    cluster.ask("create extension pg_stat_statements")
    cluster.ask("create sequence there")
    before = cluster.state()[:-4]
    cluster.changed()
    made = cluster.state()
    cluster.ask("create table its (); alter table its owner to pganalytics")
    refused = cluster.play(tasks_from="remove")
    assert refused.failed == {"host"}
    assert "drop it by hand" in refused.words
    cluster.ask("drop table its")
    assert cluster.changed("--check", tasks_from="remove") > 0
    assert cluster.state() == made
    cluster.changed(tasks_from="remove")
    assert cluster.hba.read_text() == _NOBODY_ELSE
    after = cluster.state()[:-4]
    assert (after[0], after[1], after[3]) == (before[0], before[1], before[3])
    for old, new in ((before[2], after[2]), (before[4], after[4])):
        assert "pganalytics" not in str(new), old
    assert cluster.changed(tasks_from="remove") == 0
