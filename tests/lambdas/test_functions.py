"""Every function from its artifact alone, under the true runtime client: it answers, and tells of what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from moto.s3 import s3_backends

from contracts.codec import decode, sha256
from contracts.objects import key_of
from contracts.version import __version__
from functions.authorizer.tokens import issue
from functions.ingest.loader import object_keys
from tests.functions.events import agent_claims, messages, notification, operator_claims, request, upload
from tests.infra.aws import module
from tests.infra.standalone.serving import batch, loaded
from tests.lambdas.artifacts import ONLY_LINUX
from tests.lambdas.aws import Aws, Deployment, Functions
from tests.lambdas.runtime import FunctionError

pytestmark = [pytest.mark.processes, ONLY_LINUX]

_JSON = {"content-type": "application/json"}
_BATCH = batch(agent_id="db-1")
_KEY = str(key_of(decode(_BATCH), sha256(_BATCH)))


@dataclass(frozen=True)
class Canned:
    """An event that a function answers, what its answer is to be, and an event that it cannot make sense of."""

    event: Callable[[Deployment], dict[str, Any]]
    right: Callable[[Any], bool]
    senseless: Any
    kind: str


def _body(answer: Any) -> Any:
    return json.loads(answer["body"])


def _asks(claims: Any, *what: str) -> Callable[[Deployment], dict[str, Any]]:
    return lambda _: request(*what, claims=claims)


def _shows_token(deployment: Deployment) -> dict[str, Any]:
    token = issue(agent_claims("db-1"), deployment.keys)
    return request("GET", "/v1/config", headers={"authorization": f"Bearer {token}"})


def _logs_in(_: Deployment) -> dict[str, Any]:
    body = json.dumps({"name": "nobody", "password": "wrong"}).encode()
    return request("POST", "/v1/auth/login", headers=_JSON, body=body)


CANNED = {
    "authorizer": Canned(
        _shows_token, lambda told: told["isAuthorized"] is True and told["context"]["sub"] == "db-1", None, ""
    ),
    "identity": Canned(_logs_in, lambda told: told["statusCode"] == 401, {}, "KeyError"),
    "ingest": Canned(
        lambda _: upload(_BATCH, agent="db-1"),
        lambda told: (told["statusCode"], _body(told)["key"]) == (202, _KEY),
        {},
        "KeyError",
    ),
    "loader": Canned(
        lambda _: messages(notification(_KEY)), lambda told: told == {"batchItemFailures": []}, {}, "KeyError"
    ),
    "reconcile": Canned(lambda _: {}, lambda told: told["complete"] is True, {"days": 0}, "ValidationError"),
    "config": Canned(
        _asks(agent_claims("db-1"), "GET", "/v1/config"), lambda told: "ETag" in told["headers"], {}, "KeyError"
    ),
    "release": Canned(lambda _: {}, lambda told: told == {"releases": []}, None, ""),
    "query": Canned(
        _asks(operator_claims(), "GET", "/v1/targets"), lambda told: _body(told)["next"] is None, {}, "KeyError"
    ),
    "maintenance": Canned(
        lambda _: {"task": "partitions"}, lambda told: told["task"] == "partitions", {"task": "x"}, "UnknownTaskError"
    ),
    "migrations": Canned(lambda _: {}, lambda told: told["ran"] == [], None, ""),
    "rotation": Canned(
        lambda _: {"begin": True},
        lambda told: told == {"keys": "stands", "authority": "stands"},
        {"Step": "setSecret", "SecretId": "another", "ClientRequestToken": "x" * 32},
        "RotationError",
    ),
}
_DEPLOYED = {function.name for function in module.functions()}


def test_there_is_an_event_for_every_function() -> None:
    assert set(CANNED) >= _DEPLOYED


@pytest.mark.parametrize("name", sorted(_DEPLOYED))
def test_a_function_answers_from_its_artifact_alone(name: str, functions: Functions, deployment: Deployment) -> None:
    answer = functions.invoke(name, CANNED[name].event(deployment))
    assert CANNED[name].right(answer), answer


@pytest.mark.parametrize("name", sorted(name for name in _DEPLOYED if CANNED[name].kind))
def test_what_a_function_cannot_do_is_told_and_it_goes_on(
    name: str, functions: Functions, deployment: Deployment
) -> None:
    with pytest.raises(FunctionError) as caught:
        functions.invoke(name, CANNED[name].senseless)
    assert caught.value.kind == CANNED[name].kind
    assert CANNED[name].right(functions.invoke(name, CANNED[name].event(deployment)))


def test_the_authorizer_denies_whatever_it_is_asked(functions: Functions) -> None:
    for senseless in ({}, [], None, "x", request("GET", "/v1/config", headers={"authorization": "Bearer x"})):
        assert functions.invoke("authorizer", senseless) == {"isAuthorized": False, "context": {}}


def test_what_the_door_accepts_the_loader_loads_once(functions: Functions, deployment: Deployment) -> None:
    data = batch(7, agent_id="db-7")
    answer = functions.invoke("ingest", upload(data, agent="db-7"))
    event = messages(*[notification(_body(answer)["key"])] * 2)
    before = loaded(deployment.dsn)
    for _ in range(2):
        assert functions.invoke("loader", event) == {"batchItemFailures": []}
    assert loaded(deployment.dsn) == before + 1


def test_the_reconciler_queues_what_the_loader_never_heard_of(functions: Functions, deployment: Deployment) -> None:
    data = batch(8, agent_id="db-8")
    key = str(key_of(decode(data), sha256(data)))
    deployment.aws.client("s3").put_object(Bucket=deployment.name, Key=key, Body=data)
    for account in s3_backends.values():  # an object is left to its own notification until it is five minutes old
        if deployment.name in account["aws"].buckets:
            account["aws"].buckets[deployment.name].keys[key].last_modified -= timedelta(minutes=6)
    assert functions.invoke("reconcile", {})["queued"] >= 1
    queue = {"QueueUrl": deployment.variables["PGANALYTICS_QUEUE_URL"]}
    told = deployment.aws.client("sqs").receive_message(**queue, MaxNumberOfMessages=10)["Messages"]
    bodies = [message["Body"] for message in told]
    assert key in [found for body in bodies for found in object_keys(body)]
    assert functions.invoke("loader", messages(*bodies)) == {"batchItemFailures": []}
    assert functions.invoke("reconcile", {})["queued"] == 0


def test_the_functions_know_their_version(functions: Functions) -> None:
    assert _body(functions.invoke("query", request("GET", "/v1/version"))) == {"version": __version__}
    assert _body(functions.invoke("query", request("GET", "/v1/openapi.json")))["info"]["version"] == __version__


def test_a_function_whose_store_is_away_tells_so(aws: Aws) -> None:
    """And tells nothing of how it would be reached."""
    deployment = Deployment(aws, "host=127.0.0.1 port=1 user=somebody password=the-password")
    deployment.prepare()
    with Functions(deployment.functions()) as functions:
        assert functions.invoke("query", request("GET", "/v1/health"))["statusCode"] == 503
        with pytest.raises(FunctionError, match="StoreUnavailableError: the store is not available"):
            functions.invoke("release", {})
        functions.invoke("ingest", upload(_BATCH, agent="db-1"))
        failed = functions.invoke("loader", messages(notification(_KEY)))
        assert failed == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
        logs = functions.logs()
    assert "not loaded, will be tried again" in logs
    assert "the-password" not in logs


def test_a_secret_that_is_empty_is_named(aws: Aws) -> None:
    deployment = Deployment(aws, "of nobody")
    deployment.prepare()
    aws.client("secretsmanager").delete_secret(SecretId=f"{deployment.name}/store", ForceDeleteWithoutRecovery=True)
    with Functions(deployment.functions()) as functions, pytest.raises(FunctionError) as caught:
        functions.invoke("release", {})
    assert caught.value.kind == "EnvironmentVariableError"
    assert f"PGANALYTICS_STORE_DSN_SECRET: secret {deployment.name}/store" in caught.value.message
