"""Promises of the ways into the bucket, with a real S3: made once, never overwritten, nobody else's, nothing lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import urllib3

from agent.sender import Sender
from agent.settings import UploadSettings
from agent.spool import Spool
from agent.transports.http import ServerClient
from agent.transports.objects import Signed
from agent.transports.outcome import Delivered, Later, Transport, Upload
from agent.transports.presigned import PresignedTransport
from agent.transports.s3 import S3Transport
from contracts.batch import Batch, Gap
from contracts.codec import encode, sha256
from contracts.objects import key_of, parse_key
from contracts.uploads import UploadAsked, put_headers
from functions.ingest.bucket import S3Bucket
from functions.ingest.uploads import grant
from tests.agent.door import Answer, Asked, Door
from tests.agent.polling import until
from tests.s3 import AGENTS, BUCKET, REGION, S3

AGENT, OTHER = AGENTS

OpenWay = Callable[[S3], S3Transport | PresignedTransport]


def raw(url: str, headers: Mapping[str, str], data: bytes) -> int:
    """The status that whoever has the address gets."""
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        return pool.request("PUT", url, headers=headers, body=data).status


def batch(agent_id: str = AGENT, seq: int = 0) -> tuple[str, Upload]:
    """A batch's key in the bucket, and the batch as a transport gets it."""
    made = Batch(agent_id=agent_id, stream_id=uuid4(), seq=seq, sent_at=time.time_ns() // 1000, agent_version="1")
    data = encode(made)
    return str(key_of(made, sha256(data))), Upload(data, made.stream_id, made.seq, made.sent_at)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3, str], None]:
    def set_(s3: S3, account: str) -> None:
        for name, value in s3.environment(account).items():
            monkeypatch.setenv(name, value)

    return set_


def straight(s3: S3, agent_id: str = AGENT) -> S3Transport:
    settings = UploadSettings(transport="s3", bucket=BUCKET, region=REGION, endpoint_url=s3.url)
    return S3Transport(settings, agent_id)


def signing(s3: S3, agent_id: str = AGENT) -> Callable[[Asked], Answer]:
    """A server that signs for this agent, as the door does."""

    def answer(asked: Asked) -> Answer:
        bucket = S3Bucket(BUCKET, s3.client())
        wanted = UploadAsked.model_validate_json(asked.body)
        granted = grant(wanted, agent_id, time.time_ns() // 1000, bucket)
        return Answer(201, {"Content-Type": "application/json"}, granted.model_dump_json().encode())

    return answer


@pytest.fixture(params=["s3", "presigned"])
def open_way(
    request: pytest.FixtureRequest, credentials: Callable[[S3, str], None], open_door: Door, client: ServerClient
) -> OpenWay:
    """Opens either way into the bucket of a server."""

    def open_(s3: S3) -> S3Transport | PresignedTransport:
        if request.param == "s3":
            credentials(s3, AGENT)
            return straight(s3)
        open_door.answer = signing(s3)
        return PresignedTransport(UploadSettings(transport="presigned"), client)

    return open_


def test_a_batch_lies_in_the_bucket_under_its_key_and_is_already_there_the_next_time(open_way: OpenWay, s3: S3) -> None:
    way, (key, upload) = open_way(s3), batch()
    assert way.send(upload) == Delivered()
    assert s3.read(key) == upload.data
    assert way.send(upload) == Delivered(already=True)
    assert way.skew_us is not None
    assert abs(way.skew_us) < 60_000_000


def test_of_twenty_that_put_one_object_at_once_one_makes_it(open_way: OpenWay, s3: S3) -> None:
    way, (key, upload) = open_way(s3), batch()
    with ThreadPoolExecutor(20) as racers:
        outcomes = list(racers.map(way.send, [upload] * 20))
    assert outcomes.count(Delivered()) == 1
    later = [each for each in outcomes if isinstance(each, Later)]
    assert outcomes.count(Delivered(already=True)) + len(later) == 19
    assert [each.reason for each in later if "409" not in each.reason] == []
    assert s3.read(key) == upload.data


def test_another_agents_prefix_is_refused_and_the_mend_named(s3: S3, credentials: Callable[[S3, str], None]) -> None:
    credentials(s3, OTHER)
    key, upload = batch()
    outcome = straight(s3).send(upload)
    assert isinstance(outcome, Later)
    assert f"AccessDenied: allow s3:PutObject on arn:aws:s3:::{BUCKET}/batches/v1/agent={AGENT}/*" in outcome.reason
    assert key not in s3.objects()


def test_the_server_signs_for_nobody_but_the_agent_that_asks(s3: S3, open_door: Door, client: ServerClient) -> None:
    open_door.answer = signing(s3, OTHER)  # whom the token says, whatever is asked
    key, upload = batch()
    assert PresignedTransport(UploadSettings(transport="presigned"), client).send(upload) == Delivered()
    assert key not in s3.objects()
    assert key.replace(f"agent={AGENT}/", f"agent={OTHER}/") in s3.objects()


def _signed_for(s3: S3, upload: Upload, seconds: int = 300) -> tuple[str, str, dict[str, str]]:
    headers = put_headers(sha256(upload.data), len(upload.data))
    key = f"batches/v1/agent={AGENT}/{uuid4()}.json.gz"
    url = S3Bucket(BUCKET, s3.client()).sign_put(key, headers, seconds)
    assert url is not None
    return key, url, headers


@pytest.mark.parametrize("what", ["larger", "other", "other, said so", "overwriting", "another type"])
def test_a_signed_address_takes_the_one_content_that_it_was_signed_for(what: str, s3: S3) -> None:
    _, upload = batch()
    key, url, headers = _signed_for(s3, upload)
    other = bytes([upload.data[0] ^ 1]) + upload.data[1:]
    match what:
        case "larger":
            status = raw(url, {**headers, "Content-Length": str(len(upload.data) + 1)}, upload.data + b"x")
        case "other":
            status = raw(url, headers, other)
        case "other, said so":
            status = raw(url, put_headers(sha256(other), len(other)), other)
        case "overwriting":
            status = raw(url, {name: value for name, value in headers.items() if name != "If-None-Match"}, upload.data)
        case _:
            status = raw(url, {**headers, "Content-Type": "text/html"}, upload.data)
    assert status in {400, 403}
    assert key not in s3.objects()
    assert raw(url, headers, upload.data) == 200


def test_a_signed_address_makes_no_other_object(s3: S3) -> None:
    _, upload = batch()
    key, url, headers = _signed_for(s3, upload)
    assert raw(url.replace(".json.gz", "-2.json.gz"), headers, upload.data) == 403
    assert raw(url.replace(f"%3D{AGENT}/", f"%3D{OTHER}/"), headers, upload.data) == 403
    assert [each for each in s3.objects() if key[:-8] in each] == []


def test_an_expired_address_is_refused_and_the_batch_goes_with_a_new_one(
    s3: S3, open_door: Door, client: ServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, upload = batch()
    way = PresignedTransport(UploadSettings(transport="presigned"), client)
    open_door.answer = signing(s3)
    with monkeypatch.context() as patch:
        patch.setattr("functions.ingest.uploads.GOOD_FOR_SECONDS", 1)
        signed = way.sign(upload)
    assert isinstance(signed, Signed)
    # Content that it was not signed for is refused for that, until it is refused for its age.
    until(lambda: "AccessDenied" in str(way._objects.put(signed, b"x" * len(upload.data))))
    outcome = way._objects.put(signed, upload.data)
    assert isinstance(outcome, Later)
    assert "the address has expired" in outcome.reason
    assert key not in s3.objects()
    assert way.send(upload) == Delivered()
    assert s3.read(key) == upload.data


def test_while_the_bucket_is_away_batches_wait_and_are_delivered_when_it_is_back(
    own_s3: S3,
    credentials: Callable[[S3, str], None],
    open_door: Door,
    client: ServerClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.sender._LONGEST_SECONDS", 0.05)
    credentials(own_s3, AGENT)
    open_door.answer = signing(own_s3)
    presigned = PresignedTransport(UploadSettings(transport="presigned"), client)
    own_s3.stop()
    spools = [Spool(tmp_path / name, 10**9, 3600) for name in ("s3", "presigned")]
    spooled = {str(spool.stream_id): [spooled_batch(spool) for _ in range(3)] for spool in spools}
    ways: tuple[Transport, ...] = (straight(own_s3), presigned)
    senders = [Sender(spool, way, lambda: None) for spool, way in zip(spools, ways, strict=True)]
    for sender in senders:
        sender.start()
    until(lambda: all(sender.uploads.failed >= 3 for sender in senders))
    assert [len(spool.entries()) for spool in spools] == [3, 3]
    own_s3.start()
    until(lambda: not any(spool.entries() for spool in spools))
    for sender, spool in zip(senders, spools, strict=True):
        sender.stop()
        spool.close()
    found: dict[str, list[bytes]] = {stream: [] for stream in spooled}
    for key in own_s3.objects():
        found[str(parse_key(key).stream_id)].append(own_s3.read(key))
    assert found == spooled


def spooled_batch(spool: Spool) -> bytes:
    at = time.time_ns() // 1000

    def make(stream_id: UUID, seq: int, gaps: tuple[Gap, ...]) -> bytes:
        made = Batch(agent_id=AGENT, stream_id=stream_id, seq=seq, sent_at=at, agent_version="1", gaps=gaps)
        return encode(made)

    return spool.put(make, at, {}).path.read_bytes()
