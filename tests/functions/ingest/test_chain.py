"""From a batch to rows, the way it goes on AWS: object, notification, queue, loader, store."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from contracts.batch import Batch
from contracts.metrics import METRICS
from functions.ingest import door, loader
from functions.store import Connection
from tests.functions.batches import batch, packed
from tests.functions.events import messages, upload

REGION = "us-east-1"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, store_dsn: str) -> Iterator[str]:
    """The URL of a queue that a bucket notifies of new batches."""
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", store_dsn)
    monkeypatch.setenv("PGANALYTICS_BUCKET_URL", "s3://batches")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        sqs, s3 = boto3.client("sqs", region_name=REGION), boto3.client("s3", region_name=REGION)
        url = sqs.create_queue(QueueName="batches")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        s3.create_bucket(Bucket="batches")
        s3.put_bucket_notification_configuration(
            Bucket="batches",
            NotificationConfiguration={
                "QueueConfigurations": [
                    {
                        "QueueArn": arn,
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "batches/v1/"}]}},
                    }
                ]
            },
        )
        yield url


def received(queue: str) -> list[str]:
    """The bodies of all messages that wait in the queue."""
    sqs = boto3.client("sqs", region_name=REGION)
    bodies: list[str] = []
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        bodies += [message["Body"] for message in found]
    return bodies


def _upload(of: Batch) -> None:
    assert door.handler(upload(packed(of)[1]), None)["statusCode"] == 202


def test_what_goes_in_by_the_door_comes_out_as_rows(queue: str, connection: Connection) -> None:
    sent = [batch(seq) for seq in range(3)]
    for each in sent:
        _upload(each)
    bodies = received(queue)
    assert loader.handler(messages(*bodies), None) == {"batchItemFailures": []}
    found = connection.execute("select stream_id, seq, rows, object_key from store.ledger order by seq").fetchall()
    assert found == [(each.stream_id, each.seq, each.rows, packed(each)[0]) for each in sent]
    for metric in METRICS:
        row = connection.execute(f"select count(*) from metric.{metric.name}").fetchone()
        assert row == (3 * (3 if metric.key else 1),), metric.name


def test_what_comes_past_the_door_is_loaded_alike(queue: str, connection: Connection) -> None:
    key, data = packed(batch())
    boto3.client("s3", region_name=REGION).put_object(Bucket="batches", Key=key, Body=data)
    boto3.client("s3", region_name=REGION).put_object(Bucket="batches", Key="elsewhere", Body=b"")
    assert loader.handler(messages(*received(queue)), None) == {"batchItemFailures": []}
    assert connection.execute("select object_key from store.ledger").fetchall() == [(key,)]
    assert connection.execute("select count(*) from store.quarantine").fetchall() == [(0,)]
