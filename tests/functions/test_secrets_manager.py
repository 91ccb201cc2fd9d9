"""Secrets as a function of Lambda reads them: signed as the SDK would, and with its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from functions.secret import SecretError, SecretUnavailableError, read_secret
from functions.secrets_manager import SERVICE, here, signed

_NAME = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:pganalytics/store-dsn-a1b2c3"


class _SecretsManager(BaseHTTPRequestHandler):
    """Answers with what it is given, one after the other, and notes what it was asked."""

    answers: list[tuple[int, bytes]]
    asked: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status, answer = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(params=["", "a session's token"])
def secrets_manager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_SecretsManager]]:
    handler = type("Handler", (_SecretsManager,), {"answers": [], "asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        told = {
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AWS_SESSION_TOKEN": request.param,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{server.server_port}",
        }
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield handler
        server.shutdown()


def test_a_secret_is_asked_for_as_the_sdk_asks(secrets_manager: type[_SecretsManager]) -> None:
    secrets_manager.answers.append((200, json.dumps({"Name": "x", "SecretString": "sesame é"}).encode()))
    assert read_secret(_NAME) == "sesame é"
    ((headers, body),) = secrets_manager.asked
    assert json.loads(body) == {"SecretId": _NAME, "VersionStage": "AWSCURRENT"}
    assert headers["authorization"] == _by_sdk(headers, body)


def _by_sdk(headers: dict[str, str], body: bytes) -> str:
    """The signature that botocore makes of the same request at the same time."""
    at = headers["x-amz-date"]
    kept = {name: headers[name] for name in ("content-type", "x-amz-target")}
    request = AWSRequest("POST", f"http://{headers['host']}/", kept, body)
    token = headers.get("x-amz-security-token")
    signer = SigV4Auth(
        Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token), SERVICE, "eu-central-1"
    )
    request.context["timestamp"] = at
    signer._modify_request_before_signing(request)  # type: ignore[attr-defined]
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)  # type: ignore[attr-defined]
    return str(request.headers["Authorization"])


def test_a_signature_is_of_the_day_the_region_and_the_content() -> None:
    told = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}
    at = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    made = {
        signed("h", body, {**told, **more}, when)["authorization"]
        for body, more, when in (
            (b"1", {}, at),
            (b"2", {}, at),
            (b"1", {"AWS_REGION": "eu-west-1"}, at),
            (b"1", {}, at.replace(day=30)),
            (b"1", {"AWS_SECRET_ACCESS_KEY": "C"}, at),
        )
    }
    assert len(made) == 5
    assert "Credential=A/20260131/eu-central-1/secretsmanager/aws4_request" in "".join(made)


@pytest.mark.parametrize(
    ("answers", "kind", "says"),
    [
        ([(400, {"__type": "ResourceNotFoundException"})], SecretError, "ResourceNotFoundException; put a value"),
        ([(400, {"__type": "x#AccessDeniedException"})], SecretError, "answered AccessDeniedException; put"),
        ([(400, {"__type": "ThrottlingException"})] * 2, SecretUnavailableError, "answered ThrottlingException"),
        ([(500, {})] * 2, SecretUnavailableError, "answered 500"),
        ([(200, {"SecretBinary": "eA=="})], SecretError, "its value is binary"),
    ],
)
def test_why_a_secret_cannot_be_read_is_told(
    secrets_manager: type[_SecretsManager], answers: list[tuple[int, Any]], kind: type[SecretError], says: str
) -> None:
    secrets_manager.answers += [(status, json.dumps(answer).encode()) for status, answer in answers]
    with pytest.raises(SecretError, match=says) as caught:
        read_secret(_NAME)
    assert type(caught.value) is kind
    assert secrets_manager.answers == []


@pytest.mark.parametrize(
    ("changed", "itself"),
    [
        ({}, True),
        ({"AWS_REGION": "cn-north-1"}, True),
        ({"AWS_REGION": "us-iso-east-1"}, False),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": None}, False),
        ({"AWS_SECRET_ACCESS_KEY": None}, False),
    ],
)
@pytest.mark.usefixtures("secrets_manager")
def test_elsewhere_the_sdk_is_asked(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str | None], itself: bool
) -> None:
    for name, value in changed.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    assert here() is itself


def test_what_failed_once_is_asked_again(secrets_manager: type[_SecretsManager]) -> None:
    secrets_manager.answers += [(503, b"no JSON"), (200, b'{"SecretString": "sesame"}')]
    assert read_secret(_NAME) == "sesame"


def test_nobody_at_all_is_an_outage(monkeypatch: pytest.MonkeyPatch, secrets_manager: type[_SecretsManager]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with pytest.raises(SecretUnavailableError, match="cannot be reached: ConnectionRefusedError"):
        read_secret(_NAME)
