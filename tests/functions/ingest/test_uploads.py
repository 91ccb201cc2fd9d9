"""Promises of signed addresses at the server: for the caller alone, of bounded size, and only where there is S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import pytest

from contracts.limits import MAX_AHEAD_US, MAX_COMPRESSED_BYTES
from contracts.objects import key_of
from contracts.uploads import UploadGranted, put_headers
from functions.ingest import door
from functions.ingest.door import handler
from tests.functions.batches import batch, now_us
from tests.functions.events import agent_claims, operator_claims, problem, request

SHA = "0123456789abcdef" * 4


@pytest.fixture
def _s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signing takes no connection: there is nobody at this address."""
    monkeypatch.setenv("PGANALYTICS_BUCKET_URL", "s3://batches")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the credentials of the test before
    yield
    door._bucket.cache_clear()


def asking(claims: Any = None, **changes: Any) -> dict[str, Any]:
    body = {"stream_id": str(UUID(int=5)), "seq": 7, "sent_at": now_us(), "sha256": SHA, "size_bytes": 1000, **changes}
    event = request(
        "POST", "/v1/uploads", claims=claims or agent_claims(), headers={"content-type": "application/json"}
    )
    return event | {"body": json.dumps(body), "isBase64Encoded": False}


@pytest.mark.usefixtures("_s3")
def test_an_address_is_for_one_object_of_the_caller_and_signs_all_that_bounds_it() -> None:
    of = batch(seq=7, stream_id=UUID(int=5))
    answer = handler(asking(sent_at=of.sent_at), None)
    assert answer["statusCode"] == 201, answer
    assert answer["headers"]["Cache-Control"] == "no-store"
    granted = UploadGranted.model_validate_json(answer["body"])
    assert granted.key == str(key_of(of, SHA))
    assert granted.headers == put_headers(SHA, 1000)
    url = urlsplit(granted.url)
    assert unquote(url.path) == f"/batches/{granted.key}"
    signed = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert set(signed["X-Amz-SignedHeaders"].split(";")) == {"host", *(name.lower() for name in granted.headers)}
    assert int(signed["X-Amz-Expires"]) == 300
    assert 0 < granted.expires_at.timestamp() - now_us() / 1_000_000 <= 300


@pytest.mark.usefixtures("_s3")
def test_whose_it_is_says_the_token_alone() -> None:
    granted = json.loads(handler(asking(agent_claims("agent-2")), None)["body"])
    assert granted["key"].startswith("batches/v1/agent=agent-2/")
    status, detail = problem(handler(asking(agent_id="agent-1"), None))
    assert status == 422
    assert "agent_id" in detail
    assert problem(handler(asking(operator_claims("admin")), None))[0] == 403


@pytest.mark.usefixtures("_s3")
def test_what_is_too_large_or_from_the_future_is_not_signed() -> None:
    status, detail = problem(handler(asking(size_bytes=MAX_COMPRESSED_BYTES + 1), None))
    assert (status, detail) == (413, f"size_bytes: {MAX_COMPRESSED_BYTES + 1}, more than {MAX_COMPRESSED_BYTES}")
    assert handler(asking(size_bytes=MAX_COMPRESSED_BYTES), None)["statusCode"] == 201
    status, detail = problem(handler(asking(sent_at=now_us() + 2 * MAX_AHEAD_US), None))
    assert status == 422
    assert "set the agent's clock" in detail


@pytest.mark.usefixtures("_s3")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stream_id", "../../agent=agent-2"),
        ("seq", -1),
        ("seq", 10**12),
        ("seq", 1.5),
        ("seq", True),
        ("sent_at", -1),
        ("sha256", SHA[1:]),
        ("sha256", SHA.upper()),
        ("sha256", f"{SHA[:-1]}/"),
        ("size_bytes", 0),
        ("size_bytes", "1000"),
    ],
)
def test_a_place_that_is_none_is_named(name: str, value: object) -> None:
    status, detail = problem(handler(asking(**{name: value}), None))
    assert status == 422
    assert detail.startswith(f"body.{name}: ")


def test_a_folder_has_no_addresses_and_says_what_to_use(monkeypatch: pytest.MonkeyPatch, bucket_folder: Path) -> None:
    monkeypatch.setenv("PGANALYTICS_BUCKET_URL", f"file://{bucket_folder}")
    status, detail = problem(handler(asking(), None))
    assert status == 501
    assert "use transport http" in detail


@pytest.mark.usefixtures("_s3")
def test_without_credentials_the_agent_is_to_ask_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    answer = handler(asking(), None)
    status, detail = problem(answer)
    assert status == 503
    assert "NoCredentialsError" in detail
    assert int(answer["headers"]["Retry-After"]) > 0
