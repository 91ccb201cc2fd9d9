"""A network with a server, and hosts that get the agent by Ansible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.ansible.controller import Played
from tests.fleet import hosts
from tests.fleet.central import Central, serving
from tests.fleet.hosts import Network
from tests.fleet.images import base_image
from tests.fleet.managed import Managed, reached
from tests.fleet.releases import BOOKWORM, BULLSEYE, Release
from tests.fleet.wheels import wheels


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
            self._wheels[python] = wheels(self.network.folder, python)
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
    with network.host(name, number, base_image(release.name)) as host:
        managed = Managed(
            host,
            folder,
            {
                **reached(host),
                "pganalytics_agent_server_url": central.url,
                "pganalytics_agent_ca_source": str(central.ca_file),
                "pganalytics_agent_token": central.token(name),
                "pganalytics_agent_wheels": str(site.wheels(release.python)),
                # With which the controller asks the server what has arrived.
                "pganalytics_agent_confirm_token": central.operator_token("viewer"),
                # PostgreSQL that is too old to be watched is refused there, too.
                "pganalytics_monitoring_role_enabled": release is not BULLSEYE,
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
