"""A batch on its way through what Terraform made: from a host that enrols to rows; a dead letter, and its return."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import urllib3

from contracts.codec import decode, sha256
from contracts.identity import EnrolmentCreated
from functions.ingest.loader import object_keys
from infra.standalone.embedded import EmbeddedPostgres
from tests.aws import Aws
from tests.functions.identities import GRANT, Agent
from tests.infra.aws.account import NEEDS_TERRAFORM
from tests.infra.standalone.serving import batch, command, connected, new_store
from tests.lambdas.applied import RECEIVES, Applied, apply
from tests.lambdas.artifacts import ONLY_LINUX
from tests.lambdas.aws import Functions
from tests.lambdas.gateway import Answer, Gateway
from tests.lambdas.places import ADMIN, PASSWORD, make_admin

pytestmark = [pytest.mark.processes, ONLY_LINUX, *NEEDS_TERRAFORM]

AGENT = "db-117"


@dataclass
class Walk:
    """What was applied, its functions running, its secrets filled."""

    applied: Applied
    functions: Functions
    gateway: Gateway
    dsn: str

    def ask(self, method: str, target: str, token: str | None = None, body: Any = None) -> Answer:
        headers = [("Authorization", f"Bearer {token}")] if token else []
        if body is None:
            return self.gateway.ask(method, target, headers)
        return self.gateway.ask(
            method, target, [*headers, ("Content-Type", "application/json")], json.dumps(body).encode()
        )

    def upload(self, data: bytes, token: str) -> str:
        """As an agent does with `transport = "presigned"`; the object's key."""
        made = decode(data)
        asked = {"stream_id": str(made.stream_id), "seq": made.seq, "sent_at": made.sent_at}
        granted = self.ask("POST", "/v1/uploads", token, {**asked, "sha256": sha256(data), "size_bytes": len(data)})
        assert granted.status == 201, granted.body
        told = granted.json()
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            assert pool.request("PUT", told["url"], headers=told["headers"], body=data).status == 200
        return str(told["key"])

    def turn(self) -> tuple[list[str], list[str]]:
        """What Lambda does with the queue, once: objects that were told of and taken, and those that come again."""
        sqs, queue = self.applied.aws.client("sqs"), {"QueueUrl": self.applied.queue_url}
        size = self.applied.mapping["BatchSize"]
        asked = {**queue, "MaxNumberOfMessages": size, "AttributeNames": ["All"], "WaitTimeSeconds": 1}
        told = sqs.receive_message(**asked).get("Messages", [])
        if not told:
            return [], []
        arn, region = self.applied.mapping["EventSourceArn"], self.applied.mapping["EventSourceArn"].split(":")[3]
        records = [_record(each, arn, region) for each in told]
        answer = self.functions.invoke(self.applied.loader, {"Records": records})
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        keys: tuple[list[str], list[str]] = ([], [])
        for message in told:
            again = message["MessageId"] in failed
            handle = {**queue, "ReceiptHandle": message["ReceiptHandle"]}
            if again:  # as if the time of its invisibility had passed
                sqs.change_message_visibility(**handle, VisibilityTimeout=0)
            else:
                sqs.delete_message(**handle)
            keys[again].extend(object_keys(message["Body"]))
        return keys

    def dead(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            self.applied.aws.client("sqs")
            .receive_message(
                QueueUrl=self.applied.dead_url, MaxNumberOfMessages=10, VisibilityTimeout=0, AttributeNames=["All"]
            )
            .get("Messages", [])
        )
        return found

    def loaded(self) -> list[int]:
        with connected(self.dsn) as connection:
            rows = connection.execute("select seq from store.ledger where agent_id = %s order by seq", (AGENT,))
            return [seq for (seq,) in rows]


def _record(message: dict[str, Any], arn: str, region: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": region,
    }


@pytest.fixture(scope="module")
def walk(aws: Aws, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("walk")
    applied, dsn = apply(aws, folder), new_store(server, migrated=False)
    # Keys and authority were made at the deployment; where the store is says its operator.
    applied.aws.client("secretsmanager").put_secret_value(SecretId=applied.outputs["store_secret"], SecretString=dsn)
    with Functions(applied.functions) as functions:
        migrated = functions.invoke(applied.outputs["functions"]["migrations"], {})
        assert migrated["ran"][0] == "0001", migrated
        make_admin(dsn, folder)
        yield Walk(applied, functions, applied.gateway(functions), dsn)


@pytest.fixture(scope="module")
def token(walk: Walk) -> str:
    """Of an agent that has enrolled."""
    session = walk.ask("POST", "/v1/auth/login", body={"name": ADMIN, "password": PASSWORD})
    assert session.status == 200, session.body
    made = walk.ask("POST", "/v1/enrolments", session.json()["access_token"], {"agent_id": AGENT})
    enrolment = EnrolmentCreated.model_validate_json(made.body)
    agent = Agent(AGENT)
    enrolled = walk.ask("POST", "/v1/agents", enrolment.token, {"csr": agent.csr()})
    assert enrolled.status == 201, enrolled.body
    assertion = agent.assertion(aud=enrolled.json()["audience"])
    granted = walk.ask("POST", "/v1/token", body={"grant_type": GRANT, "assertion": assertion})
    assert granted.status == 200, granted.body
    return str(granted.json()["access_token"])


def test_a_batch_goes_from_an_agent_that_enrols_to_rows(walk: Walk, token: str) -> None:
    key = walk.upload(batch(1, agent_id=AGENT), token)
    assert key.startswith(f"batches/v1/agent={AGENT}/")
    _until_taken(walk, key)
    assert walk.loaded() == [1]
    with connected(walk.dsn) as connection:
        assert connection.execute("select threads from metric.host_load").fetchall() == [(1,)]


def test_a_batch_by_the_door_goes_the_same_way(walk: Walk, token: str) -> None:
    headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/gzip")]
    answer = walk.gateway.ask("POST", "/v1/batches", headers, batch(2, agent_id=AGENT))
    assert answer.status == 202
    _until_taken(walk, answer.json()["key"])
    assert 2 in walk.loaded()


def test_nobody_comes_in_without_a_token(walk: Walk, token: str) -> None:
    assert walk.ask("GET", "/v1/config").status == 401
    assert walk.ask("GET", "/v1/agents", token).status == 403
    assert walk.ask("GET", "/v1/config", token).status == 200
    assert walk.ask("GET", "/v1/health").json()["store"] == "ok"


def test_what_the_store_cannot_take_becomes_a_dead_letter_and_is_replayed(walk: Walk, token: str) -> None:
    assert int(walk.applied.redrive["maxReceiveCount"]) == RECEIVES
    with _no_store(walk):
        key = walk.upload(batch(3, agent_id=AGENT), token)
        # The queue gives it up when it would be received once more.
        turns = [walk.turn() for _ in range(RECEIVES + 1)]
        assert [bool(again) for _, again in turns] == [*[True] * RECEIVES, False]
        (letter,) = walk.dead()
        assert list(object_keys(letter["Body"])) == [key]
    assert 3 not in walk.loaded()
    told = {"PGANALYTICS_STORE_DSN": walk.dsn, "PGANALYTICS_BUCKET_URL": f"s3://{walk.applied.outputs['bucket']}"}
    done = command("replay", "--agent", AGENT, "--json", **told, **walk.applied.aws.environment)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["new"] == 1
    assert 3 in walk.loaded()
    # And as a message that is moved back to its queue: loaded already, done with.
    walk.applied.aws.client("sqs").send_message(QueueUrl=walk.applied.queue_url, MessageBody=letter["Body"])
    before = walk.loaded()
    _until_taken(walk, key)
    assert walk.loaded() == before


def _until_taken(walk: Walk, key: str) -> None:
    for _ in range(20):
        if key in walk.turn()[0]:
            return
    raise AssertionError(f"the queue never told of {key}")


@contextmanager
def _no_store(walk: Walk) -> Iterator[None]:
    """PostgreSQL lets nobody into the store, and ends who is in."""
    name = psycopg.conninfo.conninfo_to_dict(walk.dsn)["dbname"]
    other = psycopg.conninfo.make_conninfo(walk.dsn, dbname="postgres")
    with connected(other) as connection:
        connection.execute("update pg_database set datallowconn = false where datname = %s", (name,))
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute("update pg_database set datallowconn = true where datname = %s", (name,))
