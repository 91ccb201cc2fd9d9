"""The two places where the functions run, asked alike: the standalone server, and the artifacts behind API Gateway.

Both have a bucket of moto's, which tells nobody of new objects: `tell` is what its notification does in either place.
"""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote_plus

import urllib3

from contracts.claims import AgentClaims, OperatorClaims
from contracts.codec import decode, sha256
from contracts.objects import key_of
from contracts.routes import ROUTES
from functions.authorizer.authority import create
from functions.authorizer.keys import dump
from functions.authorizer.tokens import issue
from infra.standalone.queue import Queue
from tests.agent.authority import Authority
from tests.aws import REGION
from tests.functions.identities import write
from tests.infra.standalone.serving import SECONDS, Serving, command, connected, serving, until
from tests.lambdas.aws import Deployment, Functions
from tests.lambdas.gateway import Answer, Behind, Gateway

#: The first admin, made as the documentation says.
ADMIN, PASSWORD = "root", "correct horse battery"


class Place(ABC):
    """Where requests are answered and batches are loaded."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @abstractmethod
    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """What a client is answered."""

    @abstractmethod
    def tell(self, *object_keys: str) -> set[str]:
        """Tell the loader of new objects, and again of those before that it could not load; which it still cannot."""

    def ask_json(self, method: str, target: str, token: str | None = None, body: Any = None, **headers: str) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            told["Authorization"] = f"Bearer {token}"
        if body is None:
            return self.ask(method, target, told)
        return self.ask(method, target, {"Content-Type": "application/json", **told}, json.dumps(body).encode())

    def token(self, claims: AgentClaims | OperatorClaims) -> str:
        return issue(claims, self.deployment.keys)

    def put(self, data: bytes, key: str | None = None) -> str:
        """Put an object into the bucket as an agent does that has an address for it; by default under its own key."""
        key = key or str(key_of(decode(data), sha256(data)))
        self.deployment.aws.client("s3").put_object(Bucket=self.deployment.name, Key=key, Body=data)
        return key

    def get(self, key: str) -> bytes:
        found: bytes = self.deployment.aws.client("s3").get_object(Bucket=self.deployment.name, Key=key)["Body"].read()
        return found

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connected(self.deployment.dsn) as connection:
            return connection.execute(query.encode(), parameters).fetchall()


class Lambdas(Place):
    """The artifacts under the runtime client, behind the routes of contracts/routes.py."""

    def __init__(self, deployment: Deployment, functions: Functions) -> None:
        super().__init__(deployment)
        self._functions = functions
        routes = {
            route.key: Behind(route.function, "authorizer" if route.audience is not None else None) for route in ROUTES
        }
        self._gateway = Gateway(routes, functions.invoke)
        self._waiting: list[str] = []

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        return self._gateway.ask(method, target, tuple((headers or {}).items()), body)

    def tell(self, *object_keys: str) -> set[str]:
        keys = [*self._waiting, *object_keys]
        event = {
            "Records": [
                _sqs_record(number, _s3_notification(self.deployment.name, key)) for number, key in enumerate(keys)
            ]
        }
        failed = self._functions.invoke("loader", event)["batchItemFailures"]
        self._waiting = [keys[int(each["itemIdentifier"])] for each in failed]
        return set(self._waiting)


class Standalone(Place):
    """The server, over HTTPS; its folder has all that it is told of."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        super().__init__(deployment)
        self.folder = folder
        self.tls = Authority(folder)
        self._stack = ExitStack()
        self._server: Serving | None = None
        write(folder / "keys.json", dump(deployment.keys.all))
        write(folder / "authority.pem", create("fleet", 30, datetime.now(UTC)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        options: list[str | Path] = ["--tls-cert", self.tls.server_chain, "--tls-key", self.tls.server_chain]
        options += ["--authority-file", self.folder / "authority.pem", "--bucket-url", f"s3://{self.deployment.name}"]
        options += ["--agent-rate", "0", "--address-rate", "0"]
        server = serving(self.folder, self.deployment.dsn, *options, fresh=False, **self.deployment.aws.environment)
        self._server = self._stack.enter_context(server)
        self._server.log("listening")

    def stop(self) -> None:
        self._stack.close()

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        assert self._server is not None
        with urllib3.PoolManager(timeout=SECONDS, retries=False, ca_certs=str(self.tls.ca_file)) as pool:
            told = pool.request(method, self._server.url + target, headers=headers, body=body or None)
        return Answer(told.status, {name.lower(): value for name, value in told.headers.items()}, told.data)

    def tell(self, *object_keys: str) -> set[str]:
        self.stop()
        queue = Queue(self.folder / "data")
        queue.send(*object_keys)
        queue.close()
        self.start()
        until(lambda: self._messages().keys() <= self._tried_in_vain())
        return set(self._messages().values())

    def _tried_in_vain(self) -> set[str]:
        """The messages that this server's loader told of."""
        assert self._server is not None
        told = [line for line in list(self._server.lines) if line["event"] == "not loaded, will be tried again"]
        return {line["message_id"] for line in told}

    def _messages(self) -> dict[str, str]:
        """The bodies of those that wait or are in hand, by their ids."""
        connection = sqlite3.connect(f"file:{self.folder / 'data' / 'queue.sqlite3'}?mode=ro", uri=True)
        try:
            return {str(id_): body for id_, body in connection.execute("select id, body from message")}
        finally:
            connection.close()


def make_admin(dsn: str, folder: Path) -> None:
    password = write(folder / "password", PASSWORD)
    made = command("users", "create", ADMIN, "--admin", "--password-file", password, PGANALYTICS_STORE_DSN=dsn)
    assert made.returncode == 0, made


def _s3_notification(bucket: str, key: str) -> str:
    """As S3 writes it into the queue ("Event message structure" in its guide)."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "203.0.113.7"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "batches",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }
    return json.dumps({"Records": [record]})


def _sqs_record(number: int, body: str) -> dict[str, Any]:
    return {
        "messageId": str(number),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:batches",
        "awsRegion": REGION,
    }
