"""Promises of what an agent says of itself: who it is, how long that can be proved, and what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.identity.certificates import own_key
from agent.identity.files import Files, IdentityError
from agent.identity.whoami import whoami
from agent.settings import Settings
from contracts.batch import Batch
from tests.agent.authority import Authority
from tests.agent.door import Door
from tests.agent.identity.registrar import Registrar
from tests.agent.program import Agent


def test_the_name_is_the_settings_or_that_of_the_enrolment(settings: Settings, files: Files, tmp_path: Path) -> None:
    assert whoami(Settings(agent_id="db-9", state_directory=tmp_path / "elsewhere")).agent_id == "db-9"
    for agent_id in ("db-1", None):
        who = whoami(settings.model_copy(update={"agent_id": agent_id}))
        assert who.agent_id == "db-1"
        assert who.identity == files.identity()


@pytest.mark.parametrize(
    ("agent_id", "enrolled", "expected"),
    [
        (None, False, "agent_id: agent.toml has none, and this host is not enrolled; add it, or enrol: "),
        ("db-2", True, "agent_id: agent.toml says db-2, but this host is enrolled as db-1; take agent_id out"),
    ],
)
def test_who_cannot_be_told_is_told_what_to_do(
    settings: Settings, files: Files, tmp_path: Path, agent_id: str | None, expected: str, *, enrolled: bool
) -> None:
    state = settings.state_directory if enrolled else tmp_path / "elsewhere"
    with pytest.raises(IdentityError, match=f"^{re.escape(expected)}"):
        whoami(Settings(agent_id=agent_id, state_directory=state))


@pytest.fixture
def enrolled(program: Agent, files: Files, gate: Door, authority: Authority) -> Agent:
    """The program of an agent that has nothing but its enrolment to say who it is."""
    text = program.settings.read_text()
    program.settings.write_text(f'{text}[server]\nurl = "{gate.url}"\nca_file = "{authority.ca_file}"\n')
    return program


def checked(program: Agent) -> tuple[dict[str, Any], int]:
    done = program.ask("check", "--json")
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["ok"] is (done.returncode == 0)
    return said, done.returncode


@pytest.mark.processes
def test_check_says_who_it_is_and_how_long_its_certificate_is_good(enrolled: Agent, files: Files, gate: Door) -> None:
    said, code = checked(enrolled)
    assert (code, said["findings"]) == (0, [])
    assert said["enrolled"].pop("days_left") == pytest.approx(90, abs=0.1)
    identity = files.identity()
    assert identity is not None
    assert said["enrolled"] == {
        "agent_id": "db-1",
        "server": gate.url,
        "not_after": identity.model_dump(mode="json")["not_after"],
    }
    told = enrolled.ask("check")
    assert told.returncode == 0
    assert re.fullmatch(
        rf"db-1, enrolled at {gate.url}, with a certificate until 20.* UTC, (90\.0|89\.9) days from now\n", told.stdout
    )


@pytest.mark.processes
def test_check_says_that_an_agent_is_not_enrolled(program: Agent, gate: Door) -> None:
    program.settings.write_text(
        f'agent_id = "db-1"\nstate_directory = "{program.state}"\n[server]\nurl = "{gate.url}"\n'
    )
    said, code = checked(program)
    assert (code, said["enrolled"]) == (1, None)
    (finding,) = said["findings"]
    assert finding["what"] == "identity"
    assert finding["problem"] == "server.token_file: there is none, and this agent is not enrolled"
    assert finding["mend"] == "enrol: pganalytics-agent enrol --token-file FILE"
    assert program.ask("check").stdout.startswith("db-1, not enrolled\nERROR   identity: server.token_file")


def dated(files: Files, authority: Authority, days_ago: int, days_left: int) -> None:
    begins, ends = (datetime.now(UTC) + timedelta(days=days) for days in (-days_ago, days_left))
    certificate = authority.certify(x509.load_pem_x509_csr(own_key(files).request("db-1").encode()), begins, ends)
    identity = files.identity()
    assert identity is not None
    identity = identity.model_copy(update={"not_after": ends})
    files.keep(identity, certificate.public_bytes(Encoding.PEM).decode(), authority.ca_file.read_text())


def _opened(files: Files, registrar: Registrar, authority: Authority) -> None:
    files.key_file.chmod(0o644)


def _revoked(files: Files, registrar: Registrar, authority: Authority) -> None:
    registrar.revoked.add("db-1")


def _expired(files: Files, registrar: Registrar, authority: Authority) -> None:
    dated(files, authority, 91, -1)


def _overdue(files: Files, registrar: Registrar, authority: Authority) -> None:
    dated(files, authority, 80, 10)


def _damaged(files: Files, registrar: Registrar, authority: Authority) -> None:
    (files.folder / "identity.json").write_text("{")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("what", "expected", "essential"),
    [
        (_opened, "key.pem: others than its owner can read or write it; chmod 600 it", True),
        (_revoked, r"gives no access token \(401\): .*; see that the agent was not revoked, and that .* clock", True),
        (_expired, r"the certificate expired 1\.0 days ago; remove .*/identity and enrol with a token", True),
        (_overdue, r"the certificate ends in 10\.0 days and is not renewed; see that the agent runs", False),
        (_damaged, r"identity\.json: .*; remove .*/identity and enrol with a token", True),
    ],
)
def test_check_says_what_is_wrong_with_it(
    enrolled: Agent,
    files: Files,
    registrar: Registrar,
    authority: Authority,
    what: Callable[[Files, Registrar, Authority], None],
    expected: str,
    *,
    essential: bool,
) -> None:
    what(files, registrar, authority)
    said, code = checked(enrolled)
    assert code == int(essential)
    found = [one for one in said["findings"] if re.search(expected, f"{one['problem']}; {one['mend']}")]
    assert [(one["what"], one["essential"]) for one in found] == [("identity", essential)]


@pytest.mark.processes
def test_check_says_everything_that_is_wrong_with_it(
    enrolled: Agent, files: Files, registrar: Registrar, authority: Authority
) -> None:
    _expired(files, registrar, authority)
    _opened(files, registrar, authority)
    problems = [one["problem"] for one in checked(enrolled)[0]["findings"]]
    assert ["expired" in problems[0], "others than its owner" in problems[1]] == [True, True]


@pytest.mark.processes
@pytest.mark.parametrize("command", ["run", "once"])
def test_without_a_name_a_command_ends_with_2_and_one_line(program: Agent, command: str) -> None:
    done = program.ask(command)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "enrol: pganalytics-agent enrol --token-file FILE" in done.stderr


@pytest.mark.processes
def test_without_an_enrolment_or_a_token_run_ends_with_2_and_says_how_to_enrol(program: Agent, gate: Door) -> None:
    program.settings.write_text(
        f'agent_id = "db-1"\nstate_directory = "{program.state}"\n[server]\nurl = "{gate.url}"\n'
    )
    done = program.ask("run")
    assert done.returncode == 2
    assert done.stderr == (
        "pganalytics-agent: server.token_file: there is none, and this agent is not enrolled; "
        "enrol: pganalytics-agent enrol --token-file FILE\n"
    )


@pytest.mark.processes
def test_once_says_its_batch_is_that_of_the_enrolled(enrolled: Agent) -> None:
    done = enrolled.ask("once", "--json")
    assert done.returncode == 0, done.stderr
    assert Batch.model_validate_json(done.stdout).agent_id == "db-1"
