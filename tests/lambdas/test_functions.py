"""Every function from its artifact alone, under the true runtime client: it answers, and tells of what it cannot do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moto.s3.models import s3_backends

from contracts.codec import decode, sha256
from contracts.objects import key_of
from contracts.version import __version__
from functions.ingest.loader import object_keys
from tests.aws import Aws
from tests.functions.events import messages, notification, request, upload
from tests.infra.aws import module
from tests.infra.standalone.serving import batch, loaded
from tests.lambdas.artifacts import ONLY_LINUX
from tests.lambdas.aws import Deployment, Functions
from tests.lambdas.canned import BATCH, CANNED, KEY, body_of
from tests.lambdas.runtime import FunctionError

pytestmark = [pytest.mark.processes, ONLY_LINUX]

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
    events: tuple[object, ...] = ({}, [], None, "x")
    for senseless in (*events, request("GET", "/v1/config", headers={"authorization": "Bearer x"})):
        assert functions.invoke("authorizer", senseless) == {"isAuthorized": False, "context": {}}


def test_what_the_door_accepts_the_loader_loads_once(functions: Functions, deployment: Deployment) -> None:
    data = batch(7, agent_id="db-7")
    answer = functions.invoke("ingest", upload(data, agent="db-7"))
    event = messages(*[notification(body_of(answer)["key"])] * 2)
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
    assert body_of(functions.invoke("query", request("GET", "/v1/version"))) == {"version": __version__}
    assert body_of(functions.invoke("query", request("GET", "/v1/openapi.json")))["info"]["version"] == __version__


def test_a_function_whose_store_is_away_tells_so(aws: Aws) -> None:
    """And tells nothing of how it would be reached."""
    deployment = Deployment(aws, "host=127.0.0.1 port=1 user=somebody password=the-password")
    deployment.prepare()
    with Functions(deployment.functions()) as functions:
        assert functions.invoke("query", request("GET", "/v1/health"))["statusCode"] == 503
        with pytest.raises(FunctionError, match="StoreUnavailableError: the store is not available"):
            functions.invoke("release", {})
        functions.invoke("ingest", upload(BATCH, agent="db-1"))
        failed = functions.invoke("loader", messages(notification(KEY)))
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
