"""From a server to rows, the way it goes on AWS: agent, object, notification, queue, loader, store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
from moto import mock_aws

from agent.runtime import once
from agent.settings import Settings, TargetSettings
from contracts.batch import Batch
from contracts.document import DatabaseSettings, Document
from contracts.metrics import METRICS
from functions.ingest import door, loader
from functions.store import Connection
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.targets.watching import databases
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


def test_what_the_agent_reads_of_a_server_stands_in_the_store(
    queue: str, server: EmbeddedPostgres, connection: Connection, tmp_path: Path
) -> None:
    with databases(server, "watched") as (name,), psycopg.connect(server.dsn(name), autocommit=True) as user:
        user.execute("create table visit (id int)")
        settings = Settings(
            agent_id="agent-1",
            state_directory=tmp_path,
            targets=(TargetSettings(name="main", dsn=server.dsn(name)),),
        )
        document = Document(databases=DatabaseSettings(include=(name,)))
        for rows in (3, 39):
            user.execute("insert into visit select generate_series(1, %s)", (rows,))
            user.execute("select pg_stat_force_next_flush()")
            user.execute("select 1")
            _upload(once(settings, document))
        bodies = received(queue)
        assert loader.handler(messages(*bodies), None) == {"batchItemFailures": []}
        inserted = connection.execute(
            """
            select d.n_tup_ins
            from delta.table_stats d
            where (target_id, datid, relid) in (
                select target_id, datid, relid from metric.relation where relation_name = 'visit'
            )
            order by d.collected_at
            """
        ).fetchall()
    hosts = connection.execute("select distinct hostname from metric.host").fetchall()
    # The stores' server has no pg_stat_statements, and so no texts of statements.
    ran = connection.execute(
        "select status, detail from store.run where status not in ('ok', 'empty') and collector not like 'statement%'"
    ).fetchall()
    assert (inserted, hosts, ran) == ([(None,), (39,)], [(os.uname().nodename,)], [])


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
