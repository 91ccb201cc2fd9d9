"""Promises of the way to the server: what each answer means for a batch, whom it trusts, and that the
token stays in.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import UUID

import pytest
import urllib3

from agent.settings import ServerSettings, SettingsError
from agent.transports import connection
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Rejected, Upload
from agent.transports.tokens import TokenError
from tests.agent.authority import Authority
from tests.agent.conftest import TOKEN
from tests.agent.door import Answer, Door, door, problem

SECOND_US = 1_000_000
BATCH = Upload(b"batch", UUID(int=1), 0, 0)


def test_a_batch_that_the_server_takes_is_delivered(client: ServerClient, open_door: Door) -> None:
    assert client.send(BATCH) == Delivered()
    (asked,) = open_door.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/v1/batches", b"batch")
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["Content-Type"] == "application/gzip"


@pytest.mark.parametrize("status", [400, 403, 413, 415, 422])
def test_problem_details_about_the_batch_reject_it(client: ServerClient, open_door: Door, status: int) -> None:
    open_door.answer = lambda _: problem(status, "frames[0]: no")
    assert client.send(BATCH) == Rejected(status, "frames[0]: no")


def test_the_content_type_of_problem_details_may_be_written_otherwise(client: ServerClient, open_door: Door) -> None:
    open_door.answer = lambda _: Answer(
        422, {"Content-Type": "Application/Problem+JSON ; charset=utf-8"}, b'{"detail": "no"}'
    )
    assert client.send(BATCH) == Rejected(422, "no")


def test_what_cannot_stand_in_a_gap_is_taken_out_of_the_detail(client: ServerClient, open_door: Door) -> None:
    open_door.answer = lambda _: Answer(
        422, {"Content-Type": "application/problem+json"}, b'{"detail": "a\\u0000b\\ud800c"}'
    )
    assert client.send(BATCH) == Rejected(422, "ab?c")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, {"Content-Type": "application/json"}, b'{"message": "Forbidden"}'),  # an authorizer's
        Answer(413, {"Content-Type": "text/html"}, b"<html>a proxy's</html>"),
        Answer(422, {"Content-Type": "application/problem+json"}, b"not json"),
        Answer(422, {"Content-Type": "application/problem+json"}, b"[]"),
        Answer(422, {"Content-Type": "application/problem+json"}, b"\xff"),
        Answer(401),
        Answer(404),
        Answer(429),
        Answer(200),
        problem(401, "the token is too old"),
        problem(429, "slowly"),
        problem(500, "a fault"),
        problem(503, "away"),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body.decode(errors='replace')[:20]}",
)
def test_any_other_answer_means_later(client: ServerClient, open_door: Door, answer: Answer) -> None:
    open_door.answer = lambda _: answer
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert str(answer.status) in outcome.reason
    assert outcome.after_seconds is None


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("999999", 3600.0), ("9" * 400, 3600.0), ("soon", None), ("-1", None), ("", None)],
)
def test_the_server_says_when_to_come_again(
    client: ServerClient, open_door: Door, value: str, seconds: float | None, status: int
) -> None:
    open_door.answer = lambda _: Answer(status, {"Retry-After": value})
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert outcome.after_seconds == seconds


def test_the_server_may_name_the_instant_to_come_again(client: ServerClient, open_door: Door) -> None:
    at = datetime.now(UTC) + timedelta(minutes=10)
    open_door.answer = lambda _: Answer(503, {"Retry-After": format_datetime(at, usegmt=True)})
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert outcome.after_seconds is not None
    assert 500 < outcome.after_seconds <= 600


def test_nobody_at_home_means_later(token_file: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        client = ServerClient(ServerSettings(url=f"http://127.0.0.1:{nobody.getsockname()[1]}", token_file=token_file))
        outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert "Connection refused" in outcome.reason


def test_a_server_that_takes_the_request_and_says_nothing_means_later(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_TIMEOUT", urllib3.Timeout(connect=0.2, read=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ServerClient(ServerSettings(url=f"http://127.0.0.1:{silent.getsockname()[1]}", token_file=token_file))
        outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert "timed out" in outcome.reason


def test_the_token_is_read_anew_for_each_request(client: ServerClient, open_door: Door, token_file: Path) -> None:
    client.send(BATCH)
    token_file.write_text("renewed\n")
    client.send(BATCH)
    assert [asked.headers["Authorization"] for asked in open_door.asked] == [f"Bearer {TOKEN}", "Bearer renewed"]


@pytest.mark.parametrize(
    "content", [None, b"", b"\n", f"{TOKEN}\n{TOKEN}".encode(), f"{TOKEN} x".encode(), b"\xff\xfe\x00", "tök".encode()]
)
def test_a_file_without_a_token_means_later_and_is_named(
    client: ServerClient, open_door: Door, token_file: Path, content: bytes | None
) -> None:
    token_file.unlink()
    if content is not None:
        token_file.write_bytes(content)
    outcome = client.send(BATCH)
    assert isinstance(outcome, Later)
    assert str(token_file) in outcome.reason
    assert TOKEN not in outcome.reason
    assert open_door.asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_token_does_not_follow_a_redirect(client: ServerClient, open_door: Door, status: int) -> None:
    with door() as other:
        open_door.answer = lambda _: Answer(status, {"Location": f"{other.url}/v1/batches"})
        assert isinstance(client.send(BATCH), Later)
        assert other.asked == []


@pytest.mark.parametrize("seconds", [-3600, 0, 3600])
def test_the_clock_is_compared_with_the_servers(client: ServerClient, open_door: Door, seconds: int) -> None:
    assert client.skew_us is None
    theirs = datetime.now(UTC) - timedelta(seconds=seconds)
    open_door.answer = lambda _: Answer(503, {"Date": format_datetime(theirs, usegmt=True)})
    client.send(BATCH)
    assert client.skew_us is not None
    assert abs(client.skew_us - seconds * SECOND_US) < 20 * SECOND_US  # type: ignore[unreachable]


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Jan 2024 00:00:00 GMT"])
def test_a_date_that_is_none_is_not_compared(client: ServerClient, open_door: Door, date: str) -> None:
    open_door.answer = lambda _: Answer(202, {"Date": date})
    assert client.send(BATCH) == Delivered()
    assert client.skew_us is None


def test_the_token_is_in_no_log_and_no_outcome(
    client: ServerClient, open_door: Door, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    open_door.answer = lambda _: problem(503, "away")
    outcomes = [client.send(BATCH)]
    token_file.write_text(f"{TOKEN}\n{TOKEN}\n")
    outcomes.append(client.send(BATCH))
    with pytest.raises(TokenError, match="token") as caught:
        client.request("GET", "/v1/config")
    assert TOKEN not in f"{outcomes} {caught.value!r} {caplog.text}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def secure(authority: Authority, version: ssl.TLSVersion) -> Iterator[Door]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_chain)
    context.maximum_version = version
    with door(context=context) as opened:
        yield opened


def test_a_server_whose_authority_is_named_is_trusted(authority: Authority, token_file: Path) -> None:
    with secure(authority, ssl.TLSVersion.TLSv1_3) as opened:
        client = ServerClient(ServerSettings(url=opened.url, token_file=token_file, ca_file=authority.ca_file))
        assert client.send(BATCH) == Delivered()
        assert len(opened.asked) == 1


def test_an_older_tls_than_1_3_is_refused(authority: Authority, token_file: Path) -> None:
    with secure(authority, ssl.TLSVersion.TLSv1_2) as opened:
        client = ServerClient(ServerSettings(url=opened.url, token_file=token_file, ca_file=authority.ca_file))
        outcome = client.send(BATCH)
        assert isinstance(outcome, Later)
        assert "SSL" in outcome.reason
        assert opened.asked == []


def test_a_server_of_another_authority_is_refused(authority: Authority, token_file: Path, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    with secure(authority, ssl.TLSVersion.TLSv1_3) as opened:
        for ca_file in (other.ca_file, None):
            client = ServerClient(ServerSettings(url=opened.url, token_file=token_file, ca_file=ca_file))
            outcome = client.send(BATCH)
            assert isinstance(outcome, Later)
            assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
        assert opened.asked == []


def test_a_server_of_another_name_is_refused(authority: Authority, token_file: Path) -> None:
    with secure(authority, ssl.TLSVersion.TLSv1_3) as opened:
        url = opened.url.replace("127.0.0.1", "localhost")  # the certificate is for the address
        client = ServerClient(ServerSettings(url=url, token_file=token_file, ca_file=authority.ca_file))
        outcome = client.send(BATCH)
        assert isinstance(outcome, Later)
        assert opened.asked == []


@pytest.mark.parametrize("content", [None, b"not certificates"])
def test_an_authority_that_cannot_be_read_is_named(token_file: Path, tmp_path: Path, content: bytes | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"server\.ca_file: {ca_file}"):
        ServerClient(ServerSettings(url="https://127.0.0.1", token_file=token_file, ca_file=ca_file))
