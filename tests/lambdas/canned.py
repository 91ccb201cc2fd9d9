"""An event for every function, as AWS gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts.codec import decode, sha256
from contracts.objects import key_of
from functions.authorizer.tokens import issue
from tests.functions.events import agent_claims, messages, notification, operator_claims, request, upload
from tests.functions.identities import GRANT, Agent
from tests.infra.standalone.serving import batch
from tests.lambdas.aws import Deployment

_JSON = {"content-type": "application/json"}
BATCH = batch(agent_id="db-1")
KEY = str(key_of(decode(BATCH), sha256(BATCH)))


@dataclass(frozen=True)
class Canned:
    """An event that a function answers, what its answer is to be, and an event that it cannot make sense of."""

    event: Callable[[Deployment], dict[str, Any]]
    right: Callable[[Any], bool]
    senseless: Any
    kind: str


def body_of(answer: Any) -> Any:
    return json.loads(answer["body"])


def _asks(claims: Any, method: str, path: str) -> Callable[[Deployment], dict[str, Any]]:
    return lambda _: request(method, path, claims=claims)


def _shows_token(deployment: Deployment) -> dict[str, Any]:
    token = issue(agent_claims("db-1"), deployment.keys)
    return request("GET", "/v1/config", headers={"authorization": f"Bearer {token}"})


def _asserts(_: Deployment) -> dict[str, Any]:
    body = json.dumps({"grant_type": GRANT, "assertion": Agent("db-1").assertion()}).encode()
    return request("POST", "/v1/token", headers=_JSON, body=body)


CANNED = {
    "authorizer": Canned(
        _shows_token, lambda told: told["isAuthorized"] is True and told["context"]["sub"] == "db-1", None, ""
    ),
    "identity": Canned(_asserts, lambda told: told["statusCode"] == 401, {}, "KeyError"),
    "ingest": Canned(
        lambda _: upload(BATCH, agent="db-1"),
        lambda told: (told["statusCode"], body_of(told)["key"]) == (202, KEY),
        {},
        "KeyError",
    ),
    "loader": Canned(
        lambda _: messages(notification(KEY)), lambda told: told == {"batchItemFailures": []}, {}, "KeyError"
    ),
    "reconcile": Canned(lambda _: {}, lambda told: told["complete"] is True, {"days": 0}, "ValidationError"),
    "config": Canned(
        _asks(agent_claims("db-1"), "GET", "/v1/config"), lambda told: "ETag" in told["headers"], {}, "KeyError"
    ),
    "release": Canned(lambda _: {}, lambda told: told == {"releases": []}, None, ""),
    "query": Canned(
        _asks(operator_claims(), "GET", "/v1/targets"), lambda told: body_of(told)["next"] is None, {}, "KeyError"
    ),
    "maintenance": Canned(
        lambda _: {"task": "partitions"}, lambda told: told["task"] == "partitions", {"task": "x"}, "UnknownTaskError"
    ),
    "migrations": Canned(lambda _: {}, lambda told: told["ran"] == [], None, ""),
    "rotation": Canned(
        lambda _: {"begin": True},
        lambda told: told == {"keys": "stands", "authority": "stands"},
        {"Step": "setSecret", "SecretId": "another", "ClientRequestToken": "x" * 32},
        "ResourceNotFoundException",
    ),
}
