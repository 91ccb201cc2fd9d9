"""Promises of signed addresses at the agent: what each answer means, and that no address is repeated anywhere."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest

from agent.sender import Sender
from agent.settings import SettingsError, UploadSettings
from agent.spool import Spool
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Outcome, Rejected, Upload
from agent.transports.presigned import PresignedTransport
from contracts.codec import sha256
from contracts.uploads import UploadAsked
from tests.agent.authority import Authority
from tests.agent.conftest import TOKEN
from tests.agent.door import Answer, Door, door, problem

SIGNATURE = "a-signature-that-nobody-may-see"
UPLOAD = Upload(b"batch", UUID(int=7), 3, 1_700_000_000_000_000)
HEADERS = {"Content-Type": "application/gzip", "If-None-Match": "*"}


def granting(url: str, headers: Mapping[str, str] = HEADERS) -> Answer:
    """The server's answer with an address at that host."""
    granted = {
        "id": "id",
        "key": "key",
        "url": f"{url}/batches/key?X-Amz-Signature={SIGNATURE}",
        "headers": {**headers, "x-amz-checksum-sha256": SIGNATURE},
        "expires_at": "2026-01-01T00:00:00Z",
        "something": "from a newer server",
    }
    return Answer(201, {"Content-Type": "application/json"}, json.dumps(granted).encode())


@pytest.fixture
def bucket() -> Iterator[Door]:
    with door(lambda _: Answer(200, {"ETag": '"etag"'})) as opened:
        yield opened


@pytest.fixture
def way(client: ServerClient, open_door: Door, bucket: Door) -> PresignedTransport:
    open_door.answer = lambda _: granting(bucket.url)
    return PresignedTransport(UploadSettings(transport="presigned"), client)


def error(status: int, code: str, **headers: str) -> Answer:
    """As S3 answers."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>?{SIGNATURE}</Message></Error>'.encode()
    return Answer(status, {"Content-Type": "application/xml", **headers}, body)


def test_the_server_is_asked_for_this_place_and_content_and_the_bucket_gets_it_without_the_token(
    way: PresignedTransport, open_door: Door, bucket: Door
) -> None:
    assert way.send(UPLOAD) == Delivered()
    (asked,) = open_door.asked
    assert (asked.method, asked.path, asked.headers["Authorization"]) == ("POST", "/v1/uploads", f"Bearer {TOKEN}")
    assert UploadAsked.model_validate_json(asked.body) == UploadAsked(
        stream_id=UPLOAD.stream_id, seq=3, sent_at=UPLOAD.sent_at, sha256=sha256(b"batch"), size_bytes=5
    )
    (put,) = bucket.asked
    assert (put.method, put.body) == ("PUT", b"batch")
    assert put.path == f"/batches/key?X-Amz-Signature={SIGNATURE}"
    assert {name: put.headers[name] for name in HEADERS} == HEADERS
    assert put.headers["x-amz-checksum-sha256"] == SIGNATURE
    assert "Authorization" not in put.headers
    assert TOKEN not in str(put.headers)


def test_an_object_that_is_there_already_is_delivered(way: PresignedTransport, bucket: Door) -> None:
    bucket.answer = lambda _: error(412, "PreconditionFailed")
    assert way.send(UPLOAD) == Delivered(already=True)


def test_an_object_that_is_too_large_for_the_bucket_is_rejected(way: PresignedTransport, bucket: Door) -> None:
    bucket.answer = lambda _: error(400, "EntityTooLarge")
    outcome = way.send(UPLOAD)
    assert isinstance(outcome, Rejected)
    assert outcome.status == 400


@pytest.mark.parametrize(
    ("answer", "mend"),
    [
        (error(403, "AccessDenied"), "the address has expired"),
        (error(403, "ExpiredToken"), "renew the credentials"),
        (error(403, "RequestTimeTooSkewed"), "set this host's clock"),
        (error(403, "SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
        (error(404, "NoSuchBucket"), "there is no such bucket"),
        (error(400, "BadDigest"), "changed on the way"),
        (error(409, "ConditionalRequestConflict"), "another writer"),
        (error(301, "PermanentRedirect"), "another region"),
        (error(500, "InternalError"), "500 InternalError"),
        (Answer(200), "200"),  # a captive portal, say: a bucket tells the object's ETag
        (Answer(412), "412"),
        (Answer(413, {"Content-Type": "text/html"}, b"<html>a proxy's</html>"), "413"),
        (Answer(204), "204"),
    ],
    ids=lambda value: str(value.status) + value.body.decode()[-60:] if isinstance(value, Answer) else value,
)
def test_any_other_answer_of_the_bucket_means_later_and_says_what_to_mend(
    way: PresignedTransport, bucket: Door, answer: Answer, mend: str
) -> None:
    bucket.answer = lambda _: answer
    outcome = way.send(UPLOAD)
    assert isinstance(outcome, Later)
    assert mend in outcome.reason
    assert outcome.after_seconds is None
    assert outcome.answered


def test_the_bucket_says_when_to_come_again(way: PresignedTransport, bucket: Door) -> None:
    bucket.answer = lambda _: error(503, "SlowDown", **{"Retry-After": "7"})
    outcome = way.send(UPLOAD)
    assert isinstance(outcome, Later)
    assert outcome.after_seconds == 7


@pytest.mark.parametrize("status", [413, 422])
def test_what_the_server_will_never_sign_is_rejected(way: PresignedTransport, open_door: Door, status: int) -> None:
    open_door.answer = lambda _: problem(status, "size_bytes: no")
    assert way.send(UPLOAD) == Rejected(status, "size_bytes: no")


@pytest.mark.parametrize(
    "answer",
    [
        problem(403, "only an agent may do this"),
        problem(501, "use transport http"),
        problem(503, "away"),
        Answer(404),
        Answer(413),
        Answer(202),
        Answer(201, {}, b"not json"),
        Answer(201, {}, b'{"url": "https://x/"}'),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body.decode()[-30:]}",
)
def test_a_server_that_does_not_sign_means_later(
    way: PresignedTransport, open_door: Door, bucket: Door, answer: Answer
) -> None:
    open_door.answer = lambda _: answer
    outcome = way.send(UPLOAD)
    assert isinstance(outcome, Later)
    assert bucket.asked == []
    if answer.status == 501:
        assert "use transport http" in outcome.reason


@pytest.mark.parametrize("status", [301, 307, 308])
def test_no_redirect_is_followed(way: PresignedTransport, bucket: Door, status: int) -> None:
    with door() as other:
        bucket.answer = lambda _: Answer(status, {"Location": f"{other.url}/elsewhere"})
        assert isinstance(way.send(UPLOAD), Later)
        assert other.asked == []


def test_an_address_is_not_used_in_the_clear(way: PresignedTransport, open_door: Door) -> None:
    open_door.answer = lambda _: granting("http://bucket.example")
    outcome = way.send(UPLOAD)
    assert isinstance(outcome, Later)
    assert outcome.reason == "bucket.example: a signed address is only used over https://"


def _nobody() -> str:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{nobody.getsockname()[1]}"


_TROUBLES: dict[str, Callable[[Door], Answer]] = {
    "nobody there": lambda _: granting(_nobody()),
    "in the clear": lambda _: granting("http://bucket.example"),
    "a port that is none": lambda _: granting("https://127.0.0.1:port"),
    "a host that is none": lambda _: granting("https://[::1"),
    "a host of too many letters": lambda _: granting(f"https://{'a' * 80}.example"),
    "a user in it": lambda _: granting(f"https://user:{SIGNATURE}@127.0.0.1:1"),
    "a header that is none": lambda bucket: granting(bucket.url, {"X-Amz-Meta": f"a\r\n{SIGNATURE}"}),
    "a header of other letters": lambda bucket: granting(bucket.url, {"X-Amz-Meta": f"\u2028{SIGNATURE}"}),
    "an answer that repeats it": lambda bucket: granting(bucket.url),
    "half an answer": lambda _: Answer(201, {}, f'{{"url": "{SIGNATURE}"}}'.encode()),
}


@pytest.mark.parametrize("trouble", _TROUBLES)
def test_an_address_is_in_no_log_and_in_no_outcome(
    way: PresignedTransport,
    open_door: Door,
    bucket: Door,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    bucket.answer = lambda _: error(403, "AccessDenied")
    open_door.answer = lambda _: _TROUBLES[trouble](bucket)
    outcomes: list[Outcome] = []

    class Noting:
        skew_us = None

        def send(self, upload: Upload) -> Outcome:
            outcomes.append(way.send(upload))
            return outcomes[-1]

    spool = Spool(tmp_path / "spool", 10**9, 3600)
    entry = spool.put(lambda *_: b"\x1f\x8b\x08\x00" + bytes(5) + b"\xff\x03" + bytes(9), time.time_ns() // 1000, {})
    assert Sender(spool, Noting(), lambda: None).send(entry) > 0
    spool.close()
    assert [type(each) for each in outcomes] == [Later]
    assert "not delivered" in caplog.text
    assert SIGNATURE not in caplog.text + repr(outcomes) + repr(way.sign(UPLOAD))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_bucket_is_spoken_to_over_tls_1_3_and_no_less(
    client: ServerClient, open_door: Door, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_chain)
    context.maximum_version = version
    with door(lambda _: Answer(200, {"ETag": '"etag"'}), context) as bucket:
        open_door.answer = lambda _: granting(bucket.url)
        way = PresignedTransport(UploadSettings(transport="presigned", ca_file=authority.ca_file), client)
        outcome = way.send(UPLOAD)
        if version is ssl.TLSVersion.TLSv1_3:
            assert outcome == Delivered()
            stranger = PresignedTransport(UploadSettings(transport="presigned"), client).send(UPLOAD)
            assert "CERTIFICATE_VERIFY_FAILED" in str(stranger)
            assert len(bucket.asked) == 1
        else:
            assert isinstance(outcome, Later)
            assert "SSL" in outcome.reason
            assert bucket.asked == []


def test_an_authority_that_cannot_be_read_is_named(client: ServerClient, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"upload\.ca_file: {tmp_path}/ca.pem"):
        PresignedTransport(UploadSettings(transport="presigned", ca_file=tmp_path / "ca.pem"), client)
