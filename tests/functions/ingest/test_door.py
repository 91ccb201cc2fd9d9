from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.batch import Gap, GapReason
from contracts.limits import MAX_COMPRESSED_BYTES
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.door import handler
from tests.functions.batches import DAY_US, batch, now_us, packed
from tests.functions.events import operator_claims, problem, request, upload


@pytest.fixture(autouse=True)
def _bucket(monkeypatch: pytest.MonkeyPatch, bucket_folder: Path) -> None:
    # The bucket is all that the door knows: there is no store in its environment.
    monkeypatch.setenv("PGANALYTICS_BUCKET_URL", f"file://{bucket_folder}")


def _stored(folder: Path) -> list[str]:
    return [each.key for each in DirectoryBucket(folder).objects("")]


def _refused(event: dict[str, Any], folder: Path) -> tuple[int, str]:
    answer = problem(handler(event, None))
    assert _stored(folder) == []
    return answer


def test_a_batch_is_durable_when_it_is_accepted(bucket_folder: Path) -> None:
    key, data = packed(batch())
    answer = handler(upload(data), None)
    assert answer["statusCode"] == 202
    assert json.loads(answer["body"])["key"] == key
    assert DirectoryBucket(bucket_folder).read(key, len(data)) == data


def test_a_batch_sent_twice_is_stored_once_and_accepted_twice(bucket_folder: Path) -> None:
    key, data = packed(batch())
    assert [handler(upload(data), None)["statusCode"] for _ in range(2)] == [202, 202]
    assert _stored(bucket_folder) == [key]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not gzip", "not gzip"),
        (gzip.compress(b"not json", mtime=0), "not JSON"),
        (packed(batch())[1][:-9], "gzip"),
    ],
)
def test_what_is_no_batch_is_a_bad_request(data: bytes, reason: str, bucket_folder: Path) -> None:
    status, detail = _refused(upload(data), bucket_folder)
    assert status == 400
    assert reason in detail


def test_a_body_that_did_not_come_as_bytes_is_a_bad_request(bucket_folder: Path) -> None:
    event = upload(b"x") | {"isBase64Encoded": False}
    assert _refused(event, bucket_folder)[0] == 400
    assert _refused(upload(b"x") | {"body": "%%%"}, bucket_folder) == (400, "the body is not base64")


def test_an_agent_writes_only_its_own_batches(bucket_folder: Path) -> None:
    status, detail = _refused(upload(packed(batch(agent_id="agent-2"))[1]), bucket_folder)
    assert status == 403
    assert "agent-2" in detail


def test_an_operator_uploads_nothing(bucket_folder: Path) -> None:
    event = request(
        "POST",
        "/v1/batches",
        claims=operator_claims("admin"),
        headers={"content-type": "application/gzip"},
        body=packed(batch())[1],
    )
    assert _refused(event, bucket_folder)[0] == 403


def test_more_than_the_limits_is_too_large(bucket_folder: Path) -> None:
    assert _refused(upload(b"x" * (MAX_COMPRESSED_BYTES + 1)), bucket_folder)[0] == 413
    bomb = gzip.compress(b" " * 50_000_001)
    assert _refused(upload(bomb), bucket_folder)[0] == 413


@pytest.mark.parametrize("media_type", ["application/json", "", "application/gzipped"])
def test_another_media_type_is_not_supported(media_type: str, bucket_folder: Path) -> None:
    assert _refused(upload(packed(batch())[1], media_type=media_type), bucket_folder)[0] == 415


def test_json_that_breaks_the_contract_is_named(bucket_folder: Path) -> None:
    status, detail = _refused(upload(gzip.compress(b'{"schema":2}')), bucket_folder)
    assert status == 422
    assert detail.startswith("schema: ")


def test_a_clock_far_ahead_is_named(bucket_folder: Path) -> None:
    status, detail = _refused(upload(packed(batch(sent_at=now_us() + DAY_US))[1]), bucket_folder)
    assert status == 422
    assert "set the agent's clock" in detail


def test_a_gap_of_a_batch_that_was_refused_for_its_clock_is_taken(bucket_folder: Path) -> None:
    ahead = now_us() + DAY_US
    assert problem(handler(upload(packed(batch(sent_at=ahead))[1]), None))[0] == 422
    told = Gap(reason=GapReason.REJECTED, from_at=ahead, until_at=ahead, batches=1, detail="sent_at: ahead")
    after = batch(1).model_copy(update={"gaps": (told,)})
    assert handler(upload(packed(after)[1]), None)["statusCode"] == 202


def test_a_bucket_that_fails_is_to_be_tried_again(bucket_folder: Path) -> None:
    bucket_folder.rmdir()
    bucket_folder.touch()
    answer = handler(upload(packed(batch())[1]), None)
    assert problem(answer)[0] == 503
    assert int(answer["headers"]["Retry-After"]) > 0
