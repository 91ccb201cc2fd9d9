"""Promises of renewal: a certificate is renewed while the agent runs, and what fails is said and tried again."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from urllib3.exceptions import HTTPError

from agent.identity.certificates import own_key
from agent.identity.enrolment import enrol, plan
from agent.identity.files import Files, IdentityError
from agent.identity.renewal import Renewer
from agent.settings import ServerSettings, Settings
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Upload
from agent.transports.tokens import TokenError
from tests.agent.authority import Authority
from tests.agent.door import Answer, Asked, Door, door, problem
from tests.agent.identity.registrar import Registrar
from tests.agent.polling import until
from tests.agent.program import Agent
from tests.agent.test_run import spooled

BATCH = Upload(b"batch", UUID(int=1), 0, 0)


@pytest.fixture
def strict(authority: Authority, registrar: Registrar) -> Iterator[Door]:
    """The registrar behind a door that lets nobody in without a certificate that is good."""
    with door(registrar, authority.context(ssl.CERT_REQUIRED)) as opened:
        yield opened


@pytest.fixture
def client(strict: Door, files: Files, authority: Authority) -> ServerClient:
    return ServerClient(ServerSettings(url=strict.url, ca_file=authority.ca_file), files)


def serials(gate: Door) -> list[int]:
    """The certificates that were shown, each once, in their order."""
    shown = [x509.load_der_x509_certificate(asked.certificate or b"").serial_number for asked in gate.asked]
    return list(dict.fromkeys(shown))


def asked_for(gate: Door, path: str) -> list[Asked]:
    return [asked for asked in gate.asked if asked.path == path]


def test_a_renewed_certificate_is_for_the_same_key_and_shown_at_once(
    client: ServerClient, strict: Door, files: Files, registrar: Registrar
) -> None:
    registrar.binds = True
    key, before = files.key(), files.identity()
    assert client.send(BATCH) == Delivered()
    renewed = Renewer(files, client).renew()
    assert renewed == files.identity()
    assert before is not None
    assert (renewed.agent_id, renewed.server, renewed.audience) == (before.agent_id, before.server, before.audience)
    assert files.key() == key
    assert client.send(BATCH) == Delivered()
    assert len(serials(strict)) == 2
    assert [asked.path for asked in strict.asked] == [
        *("/v1/token", "/v1/batches", "/v1/certificate"),
        *("/v1/token", "/v1/batches"),  # what was bound to the old certificate is not tried
    ]


def test_requests_under_way_end_well_while_the_certificate_changes(
    client: ServerClient, strict: Door, files: Files, registrar: Registrar
) -> None:
    registrar.binds = True
    arrived, go_on, outcomes = threading.Event(), threading.Event(), []

    def slow(asked: Asked) -> Answer:
        if asked.path == "/v1/batches" and not arrived.is_set():
            arrived.set()
            assert go_on.wait(30)
        return registrar(asked)

    strict.answer = slow
    sending = threading.Thread(target=lambda: outcomes.append(client.send(BATCH)))
    sending.start()
    assert arrived.wait(30)
    Renewer(files, client).renew()
    go_on.set()
    sending.join(30)
    assert outcomes == [Delivered()]


@pytest.mark.parametrize(
    "answer",
    [problem(503, "the store is not available"), problem(422, "csr: no"), Answer(200, {}, b"{}"), Answer(0)],
    ids=["503", "422", "empty", "silent"],
)
def test_a_renewal_that_fails_leaves_what_was_there(
    client: ServerClient, files: Files, registrar: Registrar, answer: Answer
) -> None:
    before = {path: path.read_bytes() for path in files.folder.iterdir()}
    registrar.instead["/v1/certificate"] = answer
    with pytest.raises((IdentityError, TokenError, HTTPError)):
        Renewer(files, client).renew()
    assert {path: path.read_bytes() for path in files.folder.iterdir()} == before
    assert client.send(BATCH) == Delivered()


@contextmanager
def renewing(files: Files, client: ServerClient) -> Iterator[Renewer]:
    renewer = Renewer(files, client)
    renewer.start()
    try:
        yield renewer
    finally:
        renewer.stop()
        renewer.join(30)


def certified(settings: Settings, registrar: Registrar, life: timedelta, strict: Door) -> tuple[Files, ServerClient]:
    """An agent whose certificate lives that long."""
    registrar.life = life
    planned = plan(settings, None, None, None)
    enrol(planned, registrar.enrolment)
    server = planned.server.model_copy(update={"url": strict.url})
    return planned.files, ServerClient(server, planned.files)


def dated(files: Files, authority: Authority, begins: datetime, ends: datetime) -> None:
    """Give the agent a certificate of these dates."""
    request = x509.load_pem_x509_csr(own_key(files).request("db-1").encode())
    files.certificate_file.write_bytes(authority.certify(request, begins, ends).public_bytes(Encoding.PEM))


def test_it_comes_when_a_third_of_its_life_is_left(settings: Settings, registrar: Registrar, strict: Door) -> None:
    files, client = certified(settings, registrar, timedelta(seconds=9), strict)
    begun = datetime.now(UTC)
    with renewing(files, client):
        until(lambda: asked_for(strict, "/v1/certificate"))
        took = (datetime.now(UTC) - begun).total_seconds()
    assert 3 < took < 9, "not at once, and while it is still good"


def test_one_that_is_fresh_is_left_alone(settings: Settings, registrar: Registrar, strict: Door) -> None:
    files, client = certified(settings, registrar, timedelta(days=90), strict)
    renewer = Renewer(files, client)
    assert 0 < renewer._look() <= 3600
    assert strict.asked == []


def test_a_server_that_gives_none_that_lasts_is_not_asked_without_end(
    authority: Authority, strict: Door, files: Files, client: ServerClient
) -> None:
    # As near the end of the authority: whatever is asked for ends soon.
    begins = datetime.now(UTC) - timedelta(days=80)
    dated(files, authority, begins, begins + timedelta(days=90))
    assert Renewer(files, client)._look() >= 1800
    assert len(asked_for(strict, "/v1/certificate")) == 1


def test_what_fails_is_said_and_tried_again(
    authority: Authority, registrar: Registrar, strict: Door, files: Files, client: ServerClient,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    begins = datetime.now(UTC) - timedelta(seconds=25)
    dated(files, authority, begins, begins + timedelta(seconds=35))
    client.reconnect()
    registrar.instead["/v1/certificate"] = problem(503, "the store is not available")
    with caplog.at_level(logging.INFO), renewing(files, client):
        until(lambda: len(asked_for(strict, "/v1/certificate")) > 1)
        registrar.instead.clear()
        until(lambda: "the certificate is renewed, and good until" in caplog.text)
    assert "is not renewed:" in caplog.text
    assert "(503): the store is not available" in caplog.text


def test_one_that_has_expired_is_an_error_that_says_what_helps(
    authority: Authority, files: Files, client: ServerClient, caplog: pytest.LogCaptureFixture
) -> None:
    ends = datetime.now(UTC) - timedelta(minutes=1)
    dated(files, authority, ends - timedelta(minutes=30), ends)
    client.reconnect()
    assert Renewer(files, client)._look() > 0
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the certificate has expired" in caplog.text
    assert "enrol with a token that is made for this agent" in caplog.text
    assert isinstance(client.send(BATCH), Later)


@pytest.mark.processes
def test_an_agent_outlives_its_certificates_without_a_restart_and_spools_on_when_it_is_revoked(
    settings: Settings, registrar: Registrar, strict: Door, authority: Authority, program: Agent
) -> None:
    registrar.binds = True
    registrar.life = timedelta(seconds=9)
    registrar.token_seconds = 6
    first = enrol(plan(settings, None, None, None), registrar.enrolment).identity
    program.settings.write_text(
        f'state_directory = "{program.state}"\n[server]\nurl = "{strict.url}"\nca_file = "{authority.ca_file}"\n'
    )
    with program.running() as process:
        until(lambda: len(serials(strict)) >= 3 and datetime.now(UTC) > first.not_after + timedelta(seconds=2), 60)
        so_far = len(asked_for(strict, "/v1/batches"))
        until(lambda: len(asked_for(strict, "/v1/batches")) > so_far)
        until(lambda: not spooled(program))
        assert process.poll() is None
        registrar.revoked.add("db-1")
        registrar.forget_tokens()
        until(lambda: "gives no access token (401)" in program.log.read_text())
        until(lambda: len(spooled(program)) >= 2)
        assert process.poll() is None
    log = program.log.read_text()
    assert "the certificate is renewed, and good until" in log
    assert "Traceback" not in log
    assert [token for token in registrar.issued if token in log] == []
