"""The role enrols a host once, with a token that is told to nobody and stays nowhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.identity.whoami import whoami
from agent.settings import load
from tests.agent.authority import Authority
from tests.agent.door import Door, door
from tests.agent.identity.registrar import Registrar, enrolment_token
from tests.ansible.controller import Played, play
from tests.ansible.options import AGENT
from tests.nursery import ROOT

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be the agent's account, as the role is"),
]


@pytest.fixture
def registrar(tmp_path: Path) -> Registrar:
    return Registrar(Authority(tmp_path))


@pytest.fixture
def gate(registrar: Registrar, tmp_path: Path) -> Iterator[Door]:
    with door(registrar, registrar.authority.context()) as opened:
        yield opened


@dataclass(frozen=True)
class Host:
    """This machine, with everything of the agent's below one folder."""

    folder: Path
    options: dict[str, Any] = field(repr=False)

    @property
    def settings(self) -> Path:
        return self.folder / "settings/agent.toml"

    def play(self, *arguments: str, **options: str) -> Played:
        """What the role does to enrol the agent and to write its settings."""
        given, playbook = self.folder / "given.json", self.folder / "playbook.yml"
        given.write_text(json.dumps({**self.options, **options}))
        tasks = [
            {"ansible.builtin.include_role": {"name": str(AGENT), "tasks_from": "look"}},
            {"ansible.builtin.include_role": {"name": str(AGENT), "tasks_from": "settings"}},
            # There is no service here to restart.
            {"ansible.builtin.meta": "end_play"},
        ]
        plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
        playbook.write_text(yaml.safe_dump(plays))
        return play(playbook, "--extra-vars", f"@{given}", *arguments, home=self.folder / "home")


@pytest.fixture
def host(tmp_path: Path, gate: Door, registrar: Registrar) -> Host:
    folder = tmp_path / "host"
    environment = folder / "environment/bin"
    environment.mkdir(parents=True)
    for name, module in (("pganalytics-agent", "-m agent.main"), ("python", "")):
        program = environment / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {module} "$@"\n')
        program.chmod(0o755)
    return Host(
        folder,
        {
            "_pganalytics_agent_environment": str(environment.parent),
            "_pganalytics_agent_enrolment_token_file": str(folder / "enrolment-token"),
            "pganalytics_agent_id": "db-1",
            "pganalytics_agent_user": "root",
            "pganalytics_agent_settings_directory": str(folder / "settings"),
            "pganalytics_agent_state_directory": str(folder / "state"),
            "pganalytics_agent_server_url": "https://agents.example.org",
            "pganalytics_agent_enrolment_url": gate.url,
            "pganalytics_agent_ca_source": str(registrar.authority.ca_file),
        },
    )


def test_a_host_is_enrolled_once_and_given_no_other_name(host: Host, registrar: Registrar, gate: Door) -> None:
    token = registrar.enrolment()
    first = host.play("-vvv", "--diff", pganalytics_agent_enrolment_token=token)
    assert first.well().changed > 0
    assert token not in first.output
    settings = load(host.settings)
    assert whoami(settings).identity is not None
    assert settings.server is not None
    assert (settings.server.url, settings.server.token_file) == ("https://agents.example.org", None)
    assert registrar.enrolments[token] == 0
    assert host.play(pganalytics_agent_enrolment_token=token).well().changed == 0
    assert host.play().well().changed == 0, "it does not need the token any more"
    assert len(gate.asked) == 1
    kept = [path for path in host.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in kept if token.encode() in path.read_bytes()] == []
    before = host.settings.read_text()
    refused = host.play(pganalytics_agent_id="db-2")
    assert refused.code != 0
    assert "agent.toml says db-2, but this host is enrolled as db-1" in refused.output
    assert host.settings.read_text() == before


def test_a_rehearsal_enrols_nobody(host: Host, gate: Door) -> None:
    host.play("--check", pganalytics_agent_enrolment_token=enrolment_token())
    assert gate.asked == []
    assert not (host.folder / "state").exists()


def test_where_it_fails_the_token_does_not_stay_and_the_settings_do(host: Host, gate: Door) -> None:
    assert host.play(pganalytics_agent_token="a-token").well().changed > 0
    before, token = host.settings.read_text(), enrolment_token()
    refused = host.play("-vvv", pganalytics_agent_enrolment_token=token)
    assert refused.code != 0
    assert "does not enrol db-1 (401): the enrolment token is not known" in refused.output
    assert token not in refused.output
    assert not (host.folder / "enrolment-token").exists()
    assert host.settings.read_text() == before
