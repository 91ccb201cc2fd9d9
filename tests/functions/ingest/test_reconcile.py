"""What is in the bucket and not in the store is queued, and loaded once; nothing else is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import pytest
from moto import mock_aws
from pydantic import ValidationError

from contracts.batch import Batch
from functions.ingest import loader
from functions.ingest import reconcile as module
from functions.ingest.bucket import DirectoryBucket, S3Bucket
from functions.ingest.loader import object_keys, take
from functions.ingest.reconcile import QueueUnavailableError, Reconciled, handler, reconcile
from functions.retention import Retention
from functions.store import Connection, Store
from tests.functions.batches import DAY_US, batch, frame, now_us, packed
from tests.functions.events import messages

REGION = "us-east-1"
STREAM = UUID("8d0a4c1e-0000-4000-8000-000000000001")


@pytest.fixture
def bucket(bucket_folder: Path) -> DirectoryBucket:
    return DirectoryBucket(bucket_folder)


class Sent(list[str]):
    """A queue that keeps what it is sent."""

    def __call__(self, keys: Sequence[str]) -> None:
        self += keys


def put(bucket: DirectoryBucket, of: Batch) -> str:
    key, data = packed(of)
    bucket.create(key, data)
    return key


def test_only_what_the_store_does_not_know_is_queued(
    bucket: DirectoryBucket, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    keys = [put(bucket, batch(seq, frames=[])) for seq in range(5)]
    assert take(keys[:3], bucket, store, Retention(30)) == {}
    folder = keys[0].rpartition("/")[0]
    nonsense, quarantined = f"{folder}/one.json.gz", f"{folder}/two.json.gz"
    for key in (nonsense, quarantined):
        bucket.create(key, b"")
    assert take([quarantined], bucket, store, Retention(30)) == {}
    sent = Sent()
    assert reconcile(bucket, store, sent, 30) == Reconciled(checked=7, queued=3)
    assert set(sent) == {*keys[3:], nonsense}


def test_a_second_batch_at_the_same_place_is_told_from_the_first(bucket: DirectoryBucket, store: Store) -> None:
    now = now_us()
    first, second = (put(bucket, batch(1, stream_id=STREAM, frames=[], sent_at=now + each)) for each in range(2))
    take([first], bucket, store, Retention(30))
    sent = Sent()
    reconcile(bucket, store, sent, 30)
    assert sent == [second]


def test_older_days_and_younger_objects_are_left_alone(bucket: DirectoryBucket, store: Store) -> None:
    now = now_us()
    keys = [put(bucket, batch(frames=[], sent_at=now - days * DAY_US, agent_id="a")) for days in range(4)]
    sent = Sent()
    reconcile(bucket, store, sent, 2)
    assert set(sent) == set(keys[:2])
    ago = datetime.now(UTC) - timedelta(minutes=5)
    assert reconcile(bucket, store, sent, 30, made_before=ago) == Reconciled()
    assert reconcile(bucket, store, sent, 30, made_before=ago + timedelta(hours=1)).queued == 4


def test_it_ends_when_time_runs_out(bucket: DirectoryBucket, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1)
    for agent in ("a", "b", "c"):
        put(bucket, batch(frames=[], agent_id=agent))
    assert reconcile(bucket, store, Sent(), 2, may_go_on=lambda: False) == Reconciled(1, 1, complete=False)


@dataclass
class Context:
    """What Lambda tells of the time that is left."""

    left_ms: int = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@dataclass
class Account:
    """A bucket that tells nobody of its objects, and the loader's queue."""

    bucket: S3Bucket
    sqs: Any
    queue_url: str

    def received(self) -> list[str]:
        bodies: list[str] = []
        while found := self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", []):
            bodies += [message["Body"] for message in found]
        return bodies


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, store_dsn: str) -> Iterator[Account]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        boto3.client("s3", region_name=REGION).create_bucket(Bucket="batches")
        sqs = boto3.client("sqs", region_name=REGION)
        url = sqs.create_queue(QueueName="batches")["QueueUrl"]
        monkeypatch.setenv("PGANALYTICS_STORE_DSN", store_dsn)
        monkeypatch.setenv("PGANALYTICS_BUCKET_URL", "s3://batches")
        monkeypatch.setenv("PGANALYTICS_QUEUE_URL", url)
        yield Account(S3Bucket("batches"), sqs, url)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects of this test count as old enough."""
    monkeypatch.setattr(module, "SETTLED", timedelta(seconds=-5))


@pytest.mark.usefixtures("settled")
def test_a_notification_that_was_lost_is_made_up_for(account: Account, connection: Connection) -> None:
    sent = [packed(batch(seq, frames=[frame("host_load", now_us())])) for seq in range(13)]
    for key, data in sent:
        account.bucket.create(key, data)
    assert handler({}, Context()) == {"checked": 13, "queued": 13, "complete": True}
    bodies = account.received()
    assert sorted(key for body in bodies for key in object_keys(body)) == sorted(key for key, _ in sent)
    assert loader.handler(messages(*bodies, *bodies), None) == {"batchItemFailures": []}
    assert connection.execute("select count(*) from metric.host_load").fetchone() == (13,)
    assert handler({}, Context()) == {"checked": 13, "queued": 0, "complete": True}
    assert account.received() == []


def test_an_object_just_made_is_left_to_its_notification(account: Account) -> None:
    account.bucket.create(*packed(batch(frames=[])))
    assert handler({}, Context()) == {"checked": 0, "queued": 0, "complete": True}


@pytest.mark.usefixtures("settled")
def test_an_event_may_ask_for_more_days(account: Account) -> None:
    account.bucket.create(*packed(batch(frames=[], sent_at=now_us() - 9 * DAY_US)))
    assert handler({}, Context())["queued"] == 0
    assert handler({"days": 30}, Context())["queued"] == 1
    with pytest.raises(ValidationError):
        handler({"days": "many"}, Context())


@pytest.mark.usefixtures("settled")
def test_what_is_beyond_the_retention_is_not_queued_for_nothing_of_it_is_loaded(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.bucket.create(*packed(batch(frames=[], sent_at=now_us() - 40 * DAY_US)))
    assert handler({"days": 60}, Context())["queued"] == 0
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS_BY_METRIC", "host_load=50")
    module._environment.cache_clear()
    assert handler({"days": 60}, Context())["queued"] == 1


@pytest.mark.usefixtures("settled")
def test_nothing_is_queued_while_the_loader_is_behind(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEHIND", 1)
    account.bucket.create(*packed(batch(frames=[])))
    account.sqs.send_message(QueueUrl=account.queue_url, MessageBody="waits")
    assert handler({}, Context()) == {"checked": 0, "queued": 0, "complete": False}


@pytest.mark.usefixtures("settled")
def test_it_ends_before_its_time_does(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1)
    for seq in range(2):
        account.bucket.create(*packed(batch(seq, frames=[])))
    assert handler({}, Context(left_ms=1000)) == {"checked": 1, "queued": 1, "complete": False}


def test_what_the_queue_refuses_is_an_error() -> None:
    class Full:
        def send_message_batch(self, **_: object) -> dict[str, Any]:
            return {"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False}]}

    full: Any = Full()
    with pytest.raises(QueueUnavailableError, match="InternalError"):
        module._Notifications(full, "queue").send(["key"])
