"""The role `monitoring_role` on a real host: Debian's clusters, peers, passwords over TLS, restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.ansible.controller import Played
from tests.ansible.options import COLLECTION
from tests.fleet.hosts import Network
from tests.fleet.images import base_image
from tests.fleet.managed import Managed, hang_up, options_of, play, reached
from tests.fleet.releases import BOOKWORM, BULLSEYE, TRIXIE

pytestmark = pytest.mark.fleet

_PASSWORD = "correct horse battery staple"


class Prepared(Managed):
    """A host with Debian's PostgreSQL, on which the role is played."""

    role = "monitoring_role"

    def started(self) -> str:
        return self.host.sql("select pg_postmaster_start_time()")

    def asked(self, port: int, query: str) -> str:
        """What a cluster answers the agent's account."""
        return self.host.run(f"runuser -u pganalytics -- psql -p {port} -d postgres -Atc '{query}'").strip()


@dataclass(frozen=True)
class Releases:
    """A host of each release, all of one inventory."""

    watched: tuple[Prepared, ...]
    old: Prepared
    folder: Path

    @property
    def hosts(self) -> tuple[Prepared, ...]:
        return (*self.watched, self.old)

    def play(self, *arguments: str, **options: object) -> Played:
        """Play the role on all; options are its own without their prefix."""
        playbook = self.folder / "playbook.yml"
        task = {"ansible.builtin.include_role": {"name": str(COLLECTION / "roles/monitoring_role")}}
        plays = [{"hosts": "all", "become": True, "gather_facts": False, "tasks": [task]}]
        playbook.write_text(yaml.safe_dump(plays))
        given = options_of("monitoring_role", options)
        hosts = {each.host.name: {**each.options, **given} for each in self.hosts}
        return play(self.old.host.network, self.folder, playbook, {"all": hosts}, *arguments)

    def prepared(self, *arguments: str, **options: object) -> Played:
        """The same; it goes well on each that is watched, and on no other."""
        played = self.play(*arguments, **options)
        assert played.failed == {self.old.host.name}, played.output
        return played


@pytest.fixture(scope="module")
def releases(network: Network) -> Iterator[Releases]:
    with ExitStack() as stack:
        folder = network.folder / "monitoring-role"
        folder.mkdir()
        prepared = []
        for number, release in enumerate((BOOKWORM, TRIXIE, BULLSEYE)):
            image = base_image(release.name)
            host = stack.enter_context(network.host(f"role-{release.name}", 41 + number, image))
            prepared.append(Prepared(host, folder, reached(host)))
        stack.callback(hang_up, folder)
        yield Releases(tuple(prepared[:2]), prepared[2], folder)


def test_every_cluster_of_a_host_is_prepared_and_restarted_only_where_that_is_permitted(releases: Releases) -> None:
    watched = releases.watched
    for each in watched:
        each.host.run(
            "useradd --system pganalytics; version=$(ls /etc/postgresql)"
            " && pg_createcluster --start $version reports && pg_createcluster $version stopped"
        )
    started = [each.started() for each in watched]

    rehearsed = releases.prepared("--check", preload=True)
    assert {each.host.sql(_ROLES) for each in releases.hosts} == {"0"}
    first = releases.prepared(preload=True)
    assert first.changes == rehearsed.changes
    assert min(first.changes[each.host.name] for each in watched) > 0
    assert first.output.count("A RESTART IS OWED") == 4, first.output
    assert [each.started() for each in watched] == started
    for each in watched:
        assert {each.asked(port, "select current_user") for port in (5432, 5433)} == {"pganalytics"}
    assert releases.prepared(preload=True).changed == 0

    restarted = releases.prepared(preload=True, restart=True)
    assert {restarted.changes[each.host.name] for each in watched} == {2}, restarted.output
    loaded = "select count(*) > 0 from pg_stat_statements"
    for each, before in zip(watched, started, strict=True):
        assert each.started() != before
        assert {each.asked(port, loaded) for port in (5432, 5433)} == {"t"}
    again = [each.started() for each in watched]
    assert releases.prepared(preload=True, restart=True).changed == 0
    assert [each.started() for each in watched] == again

    assert "which is not watched; upgrade it to 14 or newer, or leave it out" in first.words
    assert releases.old.host.sql(_ROLES) == "0"


_ROLES = "select count(*) from pg_roles where rolname = 'pganalytics'"


def test_from_elsewhere_it_comes_with_a_password_over_tls_alone(releases: Releases) -> None:
    asked = {"hba": "scram-sha-256", "address": "127.0.0.1/32", "password": _PASSWORD}
    assert _PASSWORD not in releases.prepared("-vvv", "--diff", **asked).output
    assert releases.prepared(**asked).changed == 0
    given = "host=127.0.0.1 user=pganalytics dbname=postgres sslmode=require"
    for each in releases.watched:
        for password, code in ((_PASSWORD, 0), ("another", 2)):
            assert each.host.ask(f"PGPASSWORD='{password}' psql '{given}' -c select") == code
        assert each.host.run("grep -rlF 'correct horse' /var/log /etc/postgresql || true").strip() == ""
