"""Promises of the way straight into the bucket: the host's credentials, used for one object and told to nobody."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest

from agent.settings import ServerSettings, Settings, SettingsError, UploadSettings
from agent.transports.choice import chosen
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Upload
from agent.transports.presigned import PresignedTransport
from agent.transports.s3 import S3Transport
from contracts.batch import Batch
from contracts.codec import encode, sha256
from contracts.objects import key_of
from contracts.uploads import put_headers
from tests.agent.authority import Authority
from tests.agent.door import Answer, Door, door
from tests.nursery import ROOT

SECRET = "a-secret-key-that-nobody-may-see"
SESSION = "a-session-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture
def bucket() -> Iterator[Door]:
    with door(lambda _: Answer(200, {"ETag": '"etag"'})) as opened:
        yield opened


def way(bucket: Door, **more: object) -> S3Transport:
    settings = {"transport": "s3", "bucket": "batches", "region": "eu-central-1", "endpoint_url": bucket.url, **more}
    return S3Transport(UploadSettings.model_validate(settings), "db-1")


def batch() -> tuple[str, Upload]:
    made = Batch(agent_id="db-1", stream_id=uuid4(), seq=5, sent_at=time.time_ns() // 1000, agent_version="1")
    data = encode(made)
    return str(key_of(made, sha256(data))), Upload(data, made.stream_id, made.seq, made.sent_at)


def test_a_batch_is_put_under_the_key_that_the_loader_expects_and_only_once(bucket: Door) -> None:
    key, upload = batch()
    assert way(bucket).send(upload) == Delivered()
    (asked,) = bucket.asked
    assert (asked.method, asked.body) == ("PUT", upload.data)
    url = urlsplit(asked.path)
    assert unquote(url.path) == f"/batches/{key}"
    headers = put_headers(sha256(upload.data), len(upload.data))
    assert {name: asked.headers[name] for name in headers} == headers
    for name in headers:
        assert name.lower() in unquote(url.query)
    assert "eu-central-1" in url.query


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        ("AccessDenied", "allow s3:PutObject on arn:aws:s3:::batches/batches/v1/agent=db-1/*"),
        ("NoSuchBucket", "upload.bucket"),
        ("PermanentRedirect", "set upload.region"),
        ("AuthorizationHeaderMalformed", "set upload.region"),
        ("ExpiredToken", "renew the credentials"),
        ("SlowDown", "SlowDown"),
    ],
)
def test_what_is_to_be_mended_is_said_and_the_batch_waits(bucket: Door, code: str, mend: str) -> None:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    bucket.answer = lambda _: Answer(503, {"Content-Type": "application/xml", "Retry-After": "3"}, body)
    outcome = way(bucket).send(batch()[1])
    assert isinstance(outcome, Later)
    assert mend in outcome.reason
    assert outcome.after_seconds == 3


def test_without_credentials_the_batch_waits_and_it_is_said(bucket: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    transport = way(bucket)
    outcome = transport.send(batch()[1])
    assert isinstance(outcome, Later)
    assert "no credentials for the bucket (NoCredentialsError): give this host a role" in outcome.reason
    assert bucket.asked == []


def test_a_profile_that_is_not_there_is_named(bucket: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nonesuch")
    with pytest.raises(SettingsError, match=r"upload: .*nonesuch"):
        way(bucket)


def test_no_secret_and_no_signature_is_in_a_log_or_an_outcome(bucket: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = way(bucket)
    outcomes = [transport.send(batch()[1])]
    bucket.answer = lambda asked: Answer(403, {}, f"<Error><Code>AccessDenied</Code>{asked.path}</Error>".encode())
    outcomes.append(transport.send(batch()[1]))
    signatures = [asked.path.partition("X-Amz-Signature=")[2][:64] for asked in bucket.asked]
    assert [len(each) for each in signatures] == [64, 64]
    for secret in (SECRET, SESSION, *signatures):
        assert secret not in caplog.text + repr(outcomes)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_bucket_is_spoken_to_over_tls_1_3_and_no_less(tmp_path: Path, version: ssl.TLSVersion) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_chain)
    context.maximum_version = version
    with door(lambda _: Answer(200, {"ETag": '"etag"'}), context) as bucket:
        outcome = way(bucket, ca_file=authority.ca_file).send(batch()[1])
        assert (outcome == Delivered()) is (version is ssl.TLSVersion.TLSv1_3)
        assert len(bucket.asked) == (version is ssl.TLSVersion.TLSv1_3)


def test_every_transport_of_the_settings_has_its_way(token_file: Path) -> None:
    server = ServerSettings(url="http://127.0.0.1:9", token_file=token_file)
    client = ServerClient(server)
    kinds = {"http": ServerClient, "presigned": PresignedTransport, "s3": S3Transport}
    for name, kind in kinds.items():
        upload = {"transport": name, **({"bucket": "batches"} if name == "s3" else {})}
        settings = Settings(agent_id="db-1", server=server, upload=UploadSettings.model_validate(upload))
        assert type(chosen(settings, client)) is kind
    with pytest.raises(SettingsError, match=r"add \[server\] with url"):
        chosen(Settings(agent_id="db-1"), None)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "agent.transports.s3")
    monkeypatch.setitem(sys.modules, "boto3", None)
    settings = Settings(agent_id="db-1", upload=UploadSettings(transport="s3", bucket="batches"))
    with pytest.raises(SettingsError, match=r'"s3" needs boto3.*pganalytics\[agent,agent-s3\]'):
        chosen(settings, None)


def test_an_agent_that_does_not_use_it_does_not_load_boto3() -> None:
    code = "import sys, agent.main; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
