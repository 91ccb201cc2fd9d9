"""What the tests of identity share: an authority, a registrar behind a door of TLS 1.3, and an enrolled host."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.identity.enrolment import enrol, plan
from agent.identity.files import Files
from agent.settings import ServerSettings, Settings
from tests.agent.authority import Authority
from tests.agent.door import Door, door
from tests.agent.identity.registrar import Registrar
from tests.agent.program import Agent


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def registrar(authority: Authority) -> Registrar:
    return Registrar(authority)


@pytest.fixture
def gate(authority: Authority, registrar: Registrar) -> Iterator[Door]:
    """The registrar's door, which asks for client certificates and lets in whoever has none."""
    with door(registrar, authority.context(ssl.CERT_OPTIONAL)) as opened:
        yield opened


@pytest.fixture
def settings(gate: Door, authority: Authority, tmp_path: Path) -> Settings:
    """Those of an agent without a token's file."""
    server = ServerSettings(url=gate.url, ca_file=authority.ca_file)
    return Settings(agent_id="db-1", state_directory=tmp_path / "state", server=server)


@pytest.fixture
def program(settings: Settings, tmp_path: Path) -> Agent:
    """The agent as a process, with the same state; its settings say no more."""
    program = Agent(tmp_path)
    program.settings.write_text(f'state_directory = "{settings.state_directory}"\n')
    return program


@pytest.fixture
def files(settings: Settings, registrar: Registrar, gate: Door) -> Files:
    """Those of an agent that is enrolled; the door has forgotten how."""
    planned = plan(settings, None, None, None)
    token = registrar.enrolment()
    enrol(planned, lambda: token)
    gate.asked.clear()
    return planned.files
