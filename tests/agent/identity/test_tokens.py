"""Promises of access tokens by assertion: had in time, asked for once, whatever the clocks say, and told to nobody."""

from __future__ import annotations

import json
import logging
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.identity.files import Files, IdentityError
from agent.settings import ServerSettings, Settings
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Rejected, Upload
from agent.transports.tokens import TokenError
from tests.agent.authority import Authority
from tests.agent.conftest import TOKEN
from tests.agent.door import Answer, Door, door, problem
from tests.agent.identity.registrar import DENIED, Registrar
from tests.nursery import ROOT

BATCH = Upload(b"batch", UUID(int=1), 0, 0)


@dataclass
class Clock:
    """The clock that nobody sets; the other one goes as it does."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("agent.identity.tokens.time", SimpleNamespace(monotonic=clock.monotonic, time=time.time))
    return clock


@pytest.fixture
def client(settings: Settings, files: Files) -> ServerClient:
    assert settings.server is not None
    return ServerClient(settings.server, files)


def paths(gate: Door) -> list[str]:
    return [asked.path.removeprefix("/v1/") for asked in gate.asked]


def test_a_token_serves_until_two_thirds_of_its_life_and_no_longer(
    client: ServerClient, gate: Door, clock: Clock
) -> None:
    assert client.send(BATCH) == Delivered()
    clock.now += 599
    assert client.send(BATCH) == Delivered()
    assert paths(gate) == ["token", "batches", "batches"]
    clock.now += 2
    assert client.send(BATCH) == Delivered()
    assert paths(gate) == ["token", "batches", "batches", "token", "batches"]
    assert "Authorization" not in gate.asked[0].headers
    used = [asked.headers["Authorization"] for asked in gate.asked if asked.path == "/v1/batches"]
    assert used[0] == used[1] != used[2]


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_while_no_new_token_can_be_had_the_last_one_serves_to_its_end(
    client: ServerClient, registrar: Registrar, gate: Door, clock: Clock, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.send(BATCH) == Delivered()
    if how == "refused":
        registrar.instead["/v1/token"] = problem(503, "the store is not available")
    else:
        gate.answer = lambda asked: Answer(0) if asked.path == "/v1/token" else registrar(asked)  # no HTTP at all
    clock.now += 700
    for _ in range(3):
        assert client.send(BATCH) == Delivered()
    assert paths(gate).count("token") == 2, "not with every request"
    clock.now += 31
    assert client.send(BATCH) == Delivered()
    assert paths(gate).count("token") == 3
    clock.now += 170
    assert isinstance(client.send(BATCH), Later)
    registrar.instead.clear()
    gate.answer = registrar
    assert client.send(BATCH) == Delivered()


def test_a_token_that_the_authorizer_refuses_is_replaced_and_the_request_is_made_again(
    client: ServerClient, registrar: Registrar, gate: Door
) -> None:
    assert client.send(BATCH) == Delivered()
    registrar.forget_tokens()
    gate.asked.clear()
    assert client.send(BATCH) == Delivered()
    assert paths(gate) == ["batches", "token", "batches"]
    assert [asked.body for asked in gate.asked if asked.path == "/v1/batches"] == [b"batch", b"batch"]


@pytest.mark.parametrize("answer", [DENIED, Answer(401), Answer(401, {"Content-Type": "application/json"}, b"{}")])
def test_it_is_made_again_once_and_not_in_a_loop(
    client: ServerClient, registrar: Registrar, gate: Door, answer: Answer
) -> None:
    registrar.instead["/v1/batches"] = answer
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert str(answer.status) in outcome.reason
    assert paths(gate) == ["token", "batches", "token", "batches"]


def test_who_looked_at_the_request_and_refuses_it_is_not_asked_again(
    client: ServerClient, registrar: Registrar, gate: Door
) -> None:
    registrar.instead["/v1/batches"] = problem(403, "another agent's batch")
    assert client.send(BATCH) == Rejected(403, "another agent's batch")
    registrar.instead["/v1/batches"] = problem(401, "no")
    assert isinstance(client.send(BATCH), Later)
    assert paths(gate) == ["token", "batches", "batches"]


@pytest.mark.parametrize("ahead", [-120, -8, 0, 8, 120])
def test_clocks_that_are_apart_are_learned_of_and_made_up_for(
    client: ServerClient, registrar: Registrar, gate: Door, clock: Clock, ahead: int
) -> None:
    registrar.ahead = ahead
    assert client.send(BATCH) == Delivered()
    assert paths(gate).count("token") == (2 if abs(ahead) == 120 else 1)
    clock.now += 700
    assert client.send(BATCH) == Delivered()
    assert paths(gate).count("token") == (3 if abs(ahead) == 120 else 2), "it is known from the first time"


def test_a_clock_that_is_set_meanwhile_is_learned_of_too(
    client: ServerClient, registrar: Registrar, gate: Door, clock: Clock
) -> None:
    assert client.send(BATCH) == Delivered()
    registrar.ahead = 3600
    clock.now += 700
    assert client.send(BATCH) == Delivered()
    assert paths(gate) == ["token", "batches", "token", "token", "batches"]


def test_a_revoked_agent_asks_once_and_says_what_it_is_told(
    client: ServerClient, registrar: Registrar, gate: Door
) -> None:
    registrar.revoked.add("db-1")
    outcome = client.send(BATCH)
    assert outcome == Later(
        f"{gate.url} gives no access token (401): the assertion is no agent's of this fleet", answered=True
    )
    assert paths(gate) == ["token"]


def test_the_server_says_when_to_ask_for_a_token_again(client: ServerClient, registrar: Registrar) -> None:
    registrar.instead["/v1/token"] = Answer(429, {"Retry-After": "7"})
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert outcome.after_seconds == 7


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'{"access_token": "t"}', b'{"access_token": "a\\r\\nHost: b", "expires_in": 900}', b"\xff"],
)
def test_an_answer_without_a_token_means_later(client: ServerClient, registrar: Registrar, answer: bytes) -> None:
    registrar.instead["/v1/token"] = Answer(200, {}, answer)
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert "access token" in outcome.reason
    assert "Host" not in outcome.reason


def test_threads_that_need_a_token_at_once_ask_for_one(client: ServerClient, gate: Door) -> None:
    outcomes: list[object] = []
    threads = [threading.Thread(target=lambda: outcomes.append(client.send(BATCH))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == [Delivered()] * 8
    assert paths(gate).count("token") == 1


def der(files: Files) -> bytes:
    return x509.load_pem_x509_certificate(files.certificate()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("clients", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_the_certificate_is_shown_where_it_is_asked_for(
    settings: Settings, files: Files, registrar: Registrar, authority: Authority, clients: ssl.VerifyMode
) -> None:
    registrar.binds = True
    with door(registrar, authority.context(clients)) as asking:
        client = ServerClient(ServerSettings(url=asking.url, ca_file=authority.ca_file), files)
        assert client.send(BATCH) == Delivered()
        assert [asked.certificate for asked in asking.asked] == [der(files)] * 2


def test_it_does_no_harm_where_nobody_asks(files: Files, registrar: Registrar, authority: Authority) -> None:
    with door(registrar, authority.context(ssl.CERT_NONE)) as plain:
        client = ServerClient(ServerSettings(url=plain.url, ca_file=authority.ca_file), files)
        assert client.send(BATCH) == Delivered()
        assert [asked.certificate for asked in plain.asked] == [None, None]


def test_without_a_certificate_a_door_that_requires_one_stays_shut(
    registrar: Registrar, authority: Authority, token_file: Path
) -> None:
    with door(registrar, authority.context(ssl.CERT_REQUIRED)) as strict:
        client = ServerClient(ServerSettings(url=strict.url, ca_file=authority.ca_file, token_file=token_file), None)
        assert isinstance(client.send(BATCH), Later)
        assert strict.asked == []


def test_a_tokens_file_is_used_where_it_is_named_and_the_certificate_is_shown_all_the_same(
    files: Files, gate: Door, authority: Authority, token_file: Path
) -> None:
    gate.answer = lambda _: Answer(202)
    client = ServerClient(ServerSettings(url=gate.url, ca_file=authority.ca_file, token_file=token_file), files)
    assert client.send(BATCH) == Delivered()
    (asked,) = gate.asked
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.certificate == der(files)


def test_what_is_in_a_tokens_file_is_not_asked_for_again(gate: Door, authority: Authority, token_file: Path) -> None:
    gate.answer = lambda _: DENIED
    client = ServerClient(ServerSettings(url=gate.url, ca_file=authority.ca_file, token_file=token_file))
    assert isinstance(client.send(BATCH), Later)
    assert paths(gate) == ["batches"]


@pytest.mark.parametrize("token", [True, False], ids=["with a token's file", "without"])
def test_a_key_that_others_can_read_is_not_used(
    settings: Settings, files: Files, gate: Door, token_file: Path, *, token: bool
) -> None:
    files.key_file.chmod(0o604)
    assert settings.server is not None
    server = settings.server.model_copy(update={"token_file": token_file if token else None})
    with pytest.raises(IdentityError, match="others than its owner can read or write it; chmod 600 it"):
        ServerClient(server, files)
    assert gate.asked == []


def test_a_key_that_others_can_read_from_now_on_is_used_no_more(
    client: ServerClient, files: Files, registrar: Registrar, gate: Door
) -> None:
    assert client.send(BATCH) == Delivered()
    files.key_file.chmod(0o640)
    registrar.forget_tokens()
    gate.asked.clear()
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert "others than its owner" in outcome.reason
    assert paths(gate) == ["batches"]


def _key(files: Files) -> None:
    files.key_file.unlink()


def _certificate(files: Files) -> None:
    files.certificate_file.unlink()


def _cut(files: Files) -> None:
    files.certificate_file.write_bytes(files.certificate()[:100])


def _exchanged(files: Files) -> None:
    from agent.identity.signing import generate

    files.keep_key(generate())


def _identity(files: Files) -> None:
    (files.folder / "identity.json").write_text("{}")


@pytest.mark.parametrize("damage", [_key, _certificate, _cut, _exchanged, _identity])
def test_damage_is_named_with_its_file_and_its_mend(
    settings: Settings, files: Files, damage: Callable[[Files], None]
) -> None:
    damage(files)
    assert settings.server is not None
    with pytest.raises(IdentityError) as caught:
        ServerClient(settings.server, files)
    assert str(files.folder) in caught.value.problem
    assert "and enrol with a token that is made for this agent" in caught.value.mend


def test_neither_tokens_nor_assertions_nor_the_key_are_in_a_log_or_an_outcome(
    client: ServerClient, files: Files, registrar: Registrar, gate: Door, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    outcomes: list[object] = [client.send(BATCH)]
    registrar.instead["/v1/token"] = problem(503, "away")
    clock.now += 700
    outcomes.append(client.send(BATCH))
    registrar.instead["/v1/batches"] = DENIED
    outcomes += [client.send(BATCH), client.send(BATCH)]
    with pytest.raises(TokenError) as caught:
        client.request("GET", "/v1/config")
    said = f"{outcomes!r} {caught.value!r} {caplog.text} {vars(client)!r} {vars(client._token)!r}"
    assertions = [json.loads(asked.body)["assertion"] for asked in gate.asked if asked.path == "/v1/token"]
    assert len(assertions) >= 3
    secrets = [*registrar.tokens, *assertions, *(one.rpartition(".")[2] for one in assertions)]
    secrets += files.key().decode().splitlines()[1:-1]
    assert [secret for secret in secrets if secret in said] == []


def test_an_agent_that_is_not_enrolled_does_not_load_cryptography(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import agent.main; from agent.runtime import Agent; "
        "from agent.settings import load; Agent(load(Path(sys.argv[1]))); "
        "sys.exit(' '.join({'cryptography', 'jwt', 'contracts.identity'} & set(sys.modules)) or 0)"
    )
    file = tmp_path / "agent.toml"
    file.write_text(
        f'agent_id = "a"\nstate_directory = "{tmp_path}/state"\n[server]\nurl = "https://127.0.0.1:9"\n'
        f'token_file = "{tmp_path}/token"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
