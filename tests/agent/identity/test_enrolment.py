"""Promises of enrolment: the key stays, the token is used once and told to nobody, and no crash costs either."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent import durable
from agent.identity.enrolment import Outcome, Plan, enrol, plan, read_token
from agent.identity.files import Files, IdentityError
from agent.settings import ServerSettings, Settings, SettingsError
from tests.agent.authority import Authority
from tests.agent.door import Answer, Asked, Door, door, problem
from tests.agent.identity.registrar import DENIED, Registrar, enrolment_token
from tests.agent.program import Agent


@pytest.fixture
def planned(settings: Settings) -> Plan:
    return plan(settings, None, None, None)


def unused() -> str:
    raise AssertionError("the token was looked at")


def refused(planned: Plan, token: str) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        enrol(planned, lambda: token)
    assert token not in str(caught.value)
    assert planned.files.identity() is None
    return caught.value


def test_the_key_is_made_here_and_what_is_kept_belongs_together(
    planned: Plan, registrar: Registrar, gate: Door, authority: Authority
) -> None:
    token = registrar.enrolment()
    outcome = enrol(planned, lambda: token)
    files = planned.files
    assert not outcome.already
    assert outcome.identity == files.identity()
    assert (outcome.identity.agent_id, outcome.identity.server) == ("db-1", gate.url)
    assert outcome.identity.audience == authority.audience
    key = load_pem_private_key(files.key(), None)
    certificate = x509.load_pem_x509_certificate(files.certificate())
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_after_utc == outcome.identity.not_after
    (asked,) = gate.asked
    assert asked.headers["Authorization"] == f"Bearer {token}"
    assert json.loads(asked.body).keys() == {"csr"}
    assert b"PRIVATE" not in asked.body
    assert (files.folder / "authority.pem").read_bytes() == authority.ca_file.read_bytes()


def test_nobody_else_can_look_into_it(files: Files) -> None:
    assert files.folder.stat().st_mode & 0o777 == 0o700
    kept = {path.name: path.stat().st_mode & 0o777 for path in files.folder.iterdir()}
    assert kept == dict.fromkeys(["authority.pem", "certificate.pem", "identity.json", "key.pem"], 0o600)


def test_a_folder_that_was_there_before_is_closed(planned: Plan, registrar: Registrar) -> None:
    planned.files.folder.mkdir(parents=True)
    planned.files.folder.chmod(0o755)
    enrol(planned, registrar.enrolment)
    assert planned.files.folder.stat().st_mode & 0o777 == 0o700


def test_who_is_enrolled_is_not_enrolled_again(planned: Plan, files: Files, gate: Door) -> None:
    before = {path: path.read_bytes() for path in files.folder.iterdir()}
    identity = files.identity()
    assert identity is not None
    assert enrol(planned, unused) == Outcome(identity, already=True)
    assert gate.asked == []
    assert {path: path.read_bytes() for path in files.folder.iterdir()} == before


def test_whose_certificate_has_expired_is_enrolled_again_with_the_same_key(
    planned: Plan, files: Files, registrar: Registrar
) -> None:
    key, identity = files.key(), files.identity()
    assert identity is not None
    expired = identity.model_copy(update={"not_after": datetime.now(UTC) - timedelta(seconds=1)})
    (files.folder / "identity.json").write_text(expired.model_dump_json())
    outcome = enrol(planned, registrar.enrolment)
    assert not outcome.already
    assert outcome.identity.days_left(datetime.now(UTC)) > 89
    assert files.key() == key


class Crash(BaseException):
    """As if the process were killed: nothing is tidied up."""


def crashing(monkeypatch: pytest.MonkeyPatch, step: int, how: str) -> Callable[[], int]:
    """Make the disk's change of that number the last one; the answer tells how many there were."""
    steps = 0

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any) -> Any:
            nonlocal steps
            here, steps = steps == step, steps + 1
            if here and how == "before":
                raise Crash
            if here and how == "midway" and change is write:
                change(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Crash
            result = change(*arguments)
            if here:
                raise Crash
            return result

        return changed

    write = durable.write
    monkeypatch.setattr(durable, "write", dying(durable.write))
    monkeypatch.setattr(durable, "sync", dying(durable.sync))
    monkeypatch.setattr(Path, "rename", dying(Path.rename))
    return lambda: steps


@pytest.mark.parametrize("how", ["before", "midway", "after"])
def test_an_enrolment_that_was_interrupted_anywhere_is_taken_up_again(
    settings: Settings, registrar: Registrar, gate: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    crashed = 0
    for step in range(100):
        one = settings.model_copy(update={"state_directory": tmp_path / f"{step}", "agent_id": f"db-{how}-{step}"})
        planned, token = plan(one, None, None, None), registrar.enrolment()
        with monkeypatch.context() as patch:
            crashing(patch, step, how)
            try:
                enrol(planned, lambda token=token: token)  # type: ignore[misc]
                break
            except Crash:
                crashed += 1
        key = planned.files.key() if planned.files.has_key() else None
        outcome = enrol(planned, lambda token=token: token)  # type: ignore[misc]
        assert key in {None, planned.files.key()}
        assert registrar.enrolments[token] == 0, "one use, however often it was asked"
        certificate = x509.load_pem_x509_certificate(planned.files.certificate())
        assert certificate.public_key() == load_pem_private_key(planned.files.key(), None).public_key()
        assert outcome.identity == planned.files.identity()
    assert crashed == 12, "four files: written, named, and the folder"


def test_an_answer_that_was_lost_costs_no_use(planned: Plan, registrar: Registrar, gate: Door) -> None:
    token = registrar.enrolment()

    def lost(asked: Asked) -> Answer:
        registrar(asked)
        return Answer(502)

    gate.answer = lost
    assert "(502)" in str(refused(planned, token))
    gate.answer = registrar
    assert enrol(planned, lambda: token).identity.agent_id == "db-1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            problem(401, "the enrolment token is not known"),
            r"\(401\): .* is not known; ask .* for a new enrolment token",
        ),
        (problem(401, "the enrolment token has expired"), r"has expired; ask .* for a new enrolment token"),
        (problem(401, "the enrolment token is used up"), r"is used up; ask .* for a new enrolment token"),
        (problem(409, "db-1 is enrolled"), r"\(409\): db-1 is enrolled; .* a token that is made for this agent"),
        (problem(422, "csr: the key is not on P-256"), r"\(422\): csr: the key is not on P-256"),
        (DENIED, r"\(403\): Forbidden"),
        (Answer(404, {"Content-Type": "text/html"}, b"<html>"), r"\(404\): Not Found"),
        (Answer(201, {}, b"{}"), r"no certificate in it: agent_id: Field required"),
        (Answer(201, {}, b"\xff"), r"no certificate in it: "),
        (Answer(307, {"Location": "https://elsewhere.example"}), r"\(307\)"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{value.status}-{value.body.decode(errors='replace')[-30:]}",
)
def test_a_refusal_says_why_and_what_helps(planned: Plan, gate: Door, answer: Answer, expected: str) -> None:
    gate.answer = lambda _: answer
    assert re.search(expected, str(refused(planned, enrolment_token())))
    assert len(gate.asked) == 1


def test_a_server_that_repeats_the_token_does_not_make_the_agent_repeat_it(planned: Plan, gate: Door) -> None:
    gate.answer = lambda asked: problem(422, f"what is {asked.headers['Authorization']}?")
    assert "what is Bearer ...?" in str(refused(planned, enrolment_token()))


@pytest.mark.parametrize("what", ["key", "name"])
def test_a_certificate_of_another_agent_is_not_kept(
    planned: Plan, registrar: Registrar, gate: Door, settings: Settings, tmp_path: Path, what: str
) -> None:
    other = settings.model_copy(update={"state_directory": tmp_path / "other", "agent_id": "db-2"})
    enrol(plan(other, None, None, None), registrar.enrolment)
    body = json.loads(registrar(gate.asked[-1]).body)
    gate.answer = lambda _: Answer(201, {}, json.dumps(body | ({"agent_id": "db-1"} if what == "key" else {})).encode())
    assert "another agent's" in str(refused(planned, enrolment_token()))


def test_a_server_of_another_authority_never_sees_the_token(settings: Settings, gate: Door, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    planned = plan(settings, None, None, Authority(folder).ca_file)
    error = refused(planned, enrolment_token())
    assert "does not answer" in str(error)
    assert "--ca-file" in error.mend
    assert gate.asked == []


def test_a_key_that_others_can_read_is_refused(planned: Plan, registrar: Registrar, gate: Door) -> None:
    gate.answer = lambda _: DENIED
    refused(planned, enrolment_token())
    planned.files.key_file.chmod(0o640)
    gate.asked.clear()
    error = refused(planned, enrolment_token())
    assert error.problem == f"{planned.files.key_file}: others than its owner can read or write it"
    assert error.mend.startswith("chmod 600 it")
    assert gate.asked == []


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_named(planned: Plan, content: bytes) -> None:
    planned.files.folder.mkdir(parents=True)
    planned.files.key_file.touch(0o600)
    planned.files.key_file.write_bytes(content)
    assert str(planned.files.key_file) in refused(planned, enrolment_token()).problem


def test_two_at_once_make_one_agent(planned: Plan, registrar: Registrar, gate: Door) -> None:
    token, arrived, go_on = registrar.enrolment(), threading.Event(), threading.Event()

    def slow(asked: Asked) -> Answer:
        arrived.set()
        assert go_on.wait(30)
        return registrar(asked)

    gate.answer = slow
    first = threading.Thread(target=enrol, args=(planned, lambda: token))
    first.start()
    assert arrived.wait(30)
    try:
        assert "another enrolment is under way" in str(refused(planned, token))
    finally:
        go_on.set()
        first.join(30)
    assert enrol(planned, unused).already


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_makes_nothing_that_the_agents_account_cannot_read(planned: Plan, gate: Door) -> None:
    nobody = pwd.getpwnam("nobody")
    state = planned.files.folder.parent
    state.mkdir()
    os.chown(state, nobody.pw_uid, nobody.pw_gid)
    error = refused(planned, enrolment_token())
    assert error.problem == f"{state} is nobody's"
    assert "runuser --user=nobody" in error.mend
    assert gate.asked == []
    assert list(state.iterdir()) == []


def test_a_disk_that_takes_nothing_is_named(planned: Plan, gate: Door) -> None:
    planned.files.folder.parent.write_text("a file")
    assert str(planned.files.folder) in refused(planned, enrolment_token()).problem
    assert gate.asked == []


@pytest.mark.parametrize(
    "content", [None, b"", b"pge_short", b"a-token-of-another-kind", b"pge_" + b"x" * 43 + b" twice", b"x" * 5000]
)
def test_a_file_without_a_token_is_named_and_not_repeated(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "enrolment-token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(IdentityError) as caught:
        read_token(file)
    assert caught.value.problem.startswith(f"--token-file {file}: ")
    assert not content or content.decode() not in str(caught.value)


URL = "https://pganalytics.example"


def test_options_and_settings_say_together_who_and_where(tmp_path: Path) -> None:
    bare = Settings(state_directory=tmp_path)
    made = plan(bare, URL, "db-7", Path("/ca.pem"))
    assert (made.agent_id, made.server.url, made.server.ca_file) == ("db-7", URL, Path("/ca.pem"))
    full = Settings(agent_id="db-8", server=ServerSettings(url=URL, token_file=Path("/t"), ca_file=Path("/a")))
    made = plan(full, None, None, None)
    assert (made.agent_id, made.server.url, made.server.ca_file) == ("db-8", URL, Path("/a"))
    assert plan(full, None, "db-8", None).agent_id == "db-8"


def test_without_a_name_it_is_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "DB-117.example.org")
    assert plan(Settings(), URL, None, None).agent_id == "db-117"


@pytest.mark.parametrize(
    ("settings", "url", "agent_id", "expected"),
    [
        (Settings(), None, "a", "server: it is not known where to enrol; give --server URL"),
        (Settings(), "http://pganalytics.example", "a", "--server: url: http:// would send the token in the clear"),
        (Settings(), URL, "DB 1", "--agent-id 'DB 1': "),
        (Settings(agent_id="db-1"), URL, "db-2", "--agent-id: agent.toml says db-1; leave the option out"),
    ],
)
def test_what_is_wrong_with_them_is_named(settings: Settings, url: str | None, agent_id: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(expected)}"):
        plan(settings, url, agent_id, None)


@pytest.mark.processes
@pytest.mark.parametrize("how", ["file", "standard input"])
def test_the_command_says_what_it_did_and_does_it_once(
    program: Agent, registrar: Registrar, gate: Door, authority: Authority, how: str
) -> None:
    token = registrar.enrolment()
    file = program.folder / "enrolment-token"
    file.write_text(f"{token}\n")
    options = ["--server", gate.url, "--agent-id", "db-1", "--ca-file", str(authority.ca_file)]

    def said() -> subprocess.CompletedProcess[str]:
        if how == "file":
            return program.ask("enrol", *options, "--token-file", str(file))
        return program.ask("enrol", *options, "--token-file", "-", given=token)

    done = said()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"db-1 is enrolled, at {gate.url}; its certificate is good until 20" in done.stdout
    assert f"{program.state}/identity" in done.stdout
    file.unlink()
    again = said()
    assert (again.returncode, again.stderr) == (0, "")
    assert "db-1 is enrolled already" in again.stdout
    assert token not in done.stdout + again.stdout
    assert len(gate.asked) == 1


@pytest.mark.processes
def test_a_refusal_ends_the_command_with_2_and_one_line(program: Agent, gate: Door, authority: Authority) -> None:
    token = enrolment_token()
    file = program.folder / "enrolment-token"
    file.write_text(token)
    program.settings.write_text(
        f'agent_id = "db-1"\nstate_directory = "{program.state}"\n'
        f'[server]\nurl = "{gate.url}"\nca_file = "{authority.ca_file}"\n'
    )
    done = program.ask("enrol", "--token-file", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"pganalytics-agent: {gate.url} does not enrol db-1 (401): the enrolment token is not known; "
        "ask whoever runs the server for a new enrolment token\n"
    )


@pytest.mark.processes
def test_a_token_file_that_would_win_is_pointed_out(
    program: Agent, registrar: Registrar, gate: Door, authority: Authority
) -> None:
    program.settings.write_text(
        f'agent_id = "db-1"\nstate_directory = "{program.state}"\n'
        f'[server]\nurl = "{gate.url}"\nca_file = "{authority.ca_file}"\ntoken_file = "/etc/pganalytics/token"\n'
    )
    done = program.ask("enrol", "--token-file", "-", given=registrar.enrolment())
    assert done.returncode == 0, done.stderr
    assert "server.token_file still stands in agent.toml, and is what is used: take it out" in done.stdout


@pytest.fixture
def strict(authority: Authority, registrar: Registrar) -> Iterator[Door]:
    with door(registrar, authority.context(ssl.CERT_REQUIRED)) as opened:
        yield opened


def test_where_certificates_are_required_of_everybody_it_is_said_that_nobody_answers(
    settings: Settings, registrar: Registrar, strict: Door
) -> None:
    planned = plan(settings, strict.url, None, None)
    assert "does not answer" in str(refused(planned, registrar.enrolment()))
