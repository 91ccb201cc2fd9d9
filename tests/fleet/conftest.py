"""A network with a server, and hosts that get the agent by Ansible."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.controller import ansible
from tests.fleet import hosts
from tests.fleet.central import Central, serving
from tests.fleet.hosts import Host, Network
from tests.fleet.releases import BOOKWORM, Release
from tests.fleet.wheels import wheels

CACHE = Path(__file__).parents[2] / ".cache/hosts"


@dataclass(frozen=True)
class Played:
    """How a playbook ended."""

    code: int
    output: str
    changed: int


@dataclass(frozen=True)
class Managed:
    """A host, and what its inventory says of it."""

    host: Host
    folder: Path
    options: dict[str, Any] = field(repr=False)

    def play(self, playbook: str, *arguments: str, **options: object) -> Played:
        """Run a playbook; options are those of the role without its prefix, and win over the inventory's."""
        given = {f"pganalytics_agent_{name}": value for name, value in options.items()}
        done = ansible(
            "ansible-playbook",
            "--inventory",
            self._inventory(given),
            f"playbooks/{playbook}.yml",
            *arguments,
            home=self.folder / "home",
            inside=self.host.network.inside,
        )
        changed = re.search(r"changed=(\d+)", done.stdout)
        return Played(done.returncode, done.stdout + done.stderr, int(changed[1]) if changed else -1)

    def played(self, playbook: str, *arguments: str, **options: object) -> Played:
        """The same, for what has to go well."""
        done = self.play(playbook, *arguments, **options)
        assert done.code == 0, done.output
        return done

    def main_pid(self) -> int:
        """The process of the agent; 0 where none runs."""
        return int(self.host.run("systemctl show --property=MainPID --value pganalytics-agent"))

    def hang_up(self) -> None:
        """End the connections that Ansible keeps open for its next run."""
        for socket in (self.folder / "home/cp").glob("*"):
            hosts.run("ssh", "-o", f"ControlPath={socket}", "-O", "exit", self.host.address)

    def _inventory(self, given: dict[str, object]) -> Path:
        # A file, and not the command line, which everybody on the controller may read.
        inventory = self.folder / f"{secrets.token_hex(4)}.json"
        variables = {**self.options, **given}
        inventory.write_text(json.dumps({"pganalytics_agents": {"hosts": {self.host.name: variables}}}))
        return inventory


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    reason = hosts.missing()
    if reason:
        pytest.skip(reason)
    with hosts.network() as made:
        yield made


@pytest.fixture(scope="session")
def central(network: Network) -> Iterator[Central]:
    """The server that the agents send to."""
    with serving(network) as running:
        yield running


@dataclass(frozen=True)
class Site:
    """Where hosts can be had: a network with a server, and what is carried to hosts."""

    network: Network
    central: Central
    _wheels: dict[str, Path] = field(default_factory=dict)

    def wheels(self, python: str) -> Path:
        """The folder of wheels for hosts with this Python."""
        if python not in self._wheels:
            self._wheels[python] = wheels(self.network.folder, CACHE, python)
        return self._wheels[python]

    @contextmanager
    def managed(self, name: str, number: int, release: Release = BOOKWORM) -> Iterator[Managed]:
        """A host without the agent."""
        with _managed(self, name, number, release) as managed:
            yield managed


@pytest.fixture(scope="session")
def site(network: Network, central: Central) -> Site:
    return Site(network, central)


@pytest.fixture(scope="session")
def carried(site: Site) -> Path:
    """The folder of wheels."""
    return site.wheels(BOOKWORM.python)


@contextmanager
def _managed(site: Site, name: str, number: int, release: Release) -> Iterator[Managed]:
    network, central = site.network, site.central
    folder = network.folder / f"{name}.controller"
    folder.mkdir()
    with network.host(name, number, hosts.base_image(CACHE, release.name)) as host:
        # As most fleets are: root does not log in, and what root makes is for root.
        host.run(
            "useradd --create-home keeper && cp -r .ssh ~keeper && chown -R keeper: ~keeper/.ssh"
            " && echo 'Defaults umask=0077, umask_override' > /etc/sudoers.d/keeper"
            " && echo 'keeper ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers.d/keeper"
        )
        host.sql("create role pganalytics login; grant pg_monitor to pganalytics")
        managed = Managed(
            host,
            folder,
            {
                "ansible_host": host.address,
                "ansible_user": "keeper",
                "ansible_ssh_common_args": " ".join(network.ssh_options),
                "ansible_python_interpreter": "/usr/bin/python3",
                "pganalytics_agent_server_url": central.url,
                "pganalytics_agent_ca_source": str(central.ca_file),
                "pganalytics_agent_token": central.token(name),
                "pganalytics_agent_wheels": str(site.wheels(release.python)),
                # With which the controller asks the server what has arrived.
                "pganalytics_agent_confirm_token": central.operator_token("viewer"),
                "pganalytics_agent_groups": ["adm"],
                "pganalytics_agent_targets": [
                    {
                        "name": "main",
                        "dsn": "host=/var/run/postgresql user=pganalytics dbname=postgres",
                        "log": {"files": ["/var/log/postgresql/*.log"]},
                    }
                ],
            },
        )
        try:
            yield managed
        finally:
            managed.hang_up()


@pytest.fixture(scope="session")
def db_1(site: Site) -> Iterator[tuple[Managed, Played]]:
    """A host with the agent, and how it came there."""
    with site.managed("db-1", 11) as managed:
        yield managed, managed.played("deploy", "--diff", "-vvv")


@pytest.fixture
def deployed(db_1: tuple[Managed, Played]) -> Managed:
    """A host with the agent; who changes it puts it back."""
    return db_1[0]


@pytest.fixture
def first_run(db_1: tuple[Managed, Played]) -> Played:
    """The run, with all that Ansible can tell of it, that put the agent on its host."""
    return db_1[1]


@pytest.fixture
def virgin(site: Site) -> Iterator[Managed]:
    """A host that never had the agent."""
    with site.managed("db-2", 12) as managed:
        yield managed
