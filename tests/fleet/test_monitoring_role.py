"""The role `monitoring_role` on a real host: Debian's clusters, peers, passwords over TLS, restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.ansible.controller import ansible
from tests.ansible.options import COLLECTION
from tests.fleet import hosts
from tests.fleet.conftest import CACHE
from tests.fleet.hosts import Host, Network
from tests.fleet.releases import BOOKWORM, BULLSEYE, TRIXIE, Release

pytestmark = pytest.mark.fleet

_PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Prepared:
    """A host with Debian's PostgreSQL, on which the role is played."""

    host: Host
    folder: Path

    def play(self, *arguments: str, **options: object) -> tuple[int, str]:
        """The exit code and what was said; options are the role's without their prefix."""
        inventory, playbook = self.folder / "hosts.json", self.folder / "playbook.yml"
        variables = {f"pganalytics_monitoring_role_{name}": value for name, value in options.items()}
        variables |= {
            "ansible_host": self.host.address,
            "ansible_user": "root",
            "ansible_ssh_common_args": " ".join(self.host.network.ssh_options),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inventory.write_text(json.dumps({"all": {"hosts": {self.host.name: variables}}}))
        task = {"ansible.builtin.include_role": {"name": str(COLLECTION / "roles/monitoring_role")}}
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        done = ansible(
            "ansible-playbook",
            "--inventory",
            inventory,
            playbook,
            *arguments,
            home=self.folder / "home",
            inside=self.host.network.inside,
        )
        return done.returncode, done.stdout + done.stderr

    def played(self, *arguments: str, **options: object) -> str:
        code, said = self.play(*arguments, **options)
        assert code == 0, said
        return said

    def started(self) -> str:
        return self.host.sql("select pg_postmaster_start_time()")

    def hang_up(self) -> None:
        """End the connections that Ansible keeps open for its next run."""
        for socket in (self.folder / "home/cp").glob("*"):
            hosts.run("ssh", "-o", f"ControlPath={socket}", "-O", "exit", self.host.address)


def _prepared(network: Network, release: Release, number: int, folder: Path) -> Iterator[Prepared]:
    with network.host(f"role-{release.name}", number, hosts.base_image(CACHE, release.name)) as host:
        made = Prepared(host, folder)
        try:
            yield made
        finally:
            made.hang_up()


@pytest.fixture(params=[BOOKWORM, TRIXIE], ids=lambda release: release.name)
def prepared(network: Network, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Prepared]:
    yield from _prepared(network, request.param, 41, tmp_path)


@pytest.fixture
def old(network: Network, tmp_path: Path) -> Iterator[Prepared]:
    yield from _prepared(network, BULLSEYE, 42, tmp_path)


def test_every_cluster_of_the_host_is_prepared_and_restarted_only_where_that_is_permitted(prepared: Prepared) -> None:
    host = prepared.host
    host.run("useradd --system pganalytics")
    version = host.run("ls /etc/postgresql").strip()
    host.run(f"pg_createcluster --start {version} reports")
    host.run(f"pg_createcluster {version} stopped")
    started = prepared.started()

    rehearsed = prepared.played("--check", preload=True)
    assert host.sql("select count(*) from pg_roles where rolname = 'pganalytics'") == "0"
    first = prepared.played(preload=True)
    assert _changed(first) == _changed(rehearsed) > 0
    assert first.count("A RESTART IS OWED") == 2, first
    assert prepared.started() == started
    for port in (5432, 5433):
        asked = f"runuser -u pganalytics -- psql -p {port} -d postgres -Atc 'select current_user'"
        assert host.run(asked).strip() == "pganalytics"
    assert _changed(prepared.played(preload=True)) == 0

    restarted = prepared.played(preload=True, restart=True)
    assert _changed(restarted) == 2, restarted
    assert prepared.started() != started
    for port in (5432, 5433):
        asked = (
            f"runuser -u pganalytics -- psql -p {port} -d postgres -Atc 'select count(*) > 0 from pg_stat_statements'"
        )
        assert host.run(asked).strip() == "t"
    again = prepared.started()
    assert _changed(prepared.played(preload=True, restart=True)) == 0
    assert prepared.started() == again


def test_from_elsewhere_it_comes_with_a_password_over_tls_alone(prepared: Prepared) -> None:
    host = prepared.host
    asked = {"hba": "scram-sha-256", "address": "127.0.0.1/32", "password": _PASSWORD}
    said = prepared.played("-vvv", "--diff", **asked)
    assert _PASSWORD not in said
    assert _changed(prepared.played(**asked)) == 0

    def login(mode: str, password: str) -> int:
        given = f"host=127.0.0.1 user=pganalytics dbname=postgres sslmode={mode}"
        return host.ask(f"PGPASSWORD='{password}' psql '{given}' -c select")

    assert login("require", _PASSWORD) == 0
    assert login("require", "another") != 0
    assert host.run("grep -rlF 'correct horse' /var/log /etc/postgresql || true").strip() == ""


def test_a_server_that_is_too_old_is_refused_with_what_to_do(old: Prepared) -> None:
    code, said = old.play()
    assert code != 0
    assert "which is not watched; upgrade it to 14 or newer, or leave it out" in " ".join(said.split())
    assert old.host.sql("select count(*) from pg_roles where rolname = 'pganalytics'") == "0"


def _changed(said: str) -> int:
    return int(said.rpartition("changed=")[2].split()[0])
