"""What somebody can do who has stolen an agent: its token, its key, its certificate. It writes its own prefix and
reads its own configuration, and nothing else; once it is revoked, not even that.

Requests go the way that they go in production: through the authorizer, and then to the function of their route.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest

from contracts.routes import ROUTES, Route, find
from functions.authorizer import door as identity
from functions.authorizer import handler as authorizer
from functions.config import handler as config
from functions.ingest import door, loader
from functions.ingest.bucket import DirectoryBucket
from functions.query import handler as query
from functions.store import Connection
from tests.functions.batches import batch, now_us, packed
from tests.functions.events import messages, notification, problem, request
from tests.functions.identities import Agent, enrolment, revoke, with_certificate

Ask = Callable[..., dict[str, Any]]

HANDLERS = {"ingest": door.handler, "config": config.handler, "query": query.handler, "identity": identity.handler}

#: All that an agent's token opens.
OPENED = {"POST /v1/batches", "POST /v1/uploads", "GET /v1/config", "POST /v1/certificate"}

DENIED = 403


@pytest.fixture
def stolen(identity: None) -> Agent:
    """The agent that was stolen; db-2 is another of the same fleet."""
    agent = Agent("stolen")
    agent.enrol(enrolment(uses=100).token)
    Agent("db-2").enrol()
    return agent


def through(token: str, event: dict[str, Any]) -> dict[str, Any]:
    """What the gateway answers: the authorizer's denial, or what the function says."""
    http = event["requestContext"]["http"]
    event["headers"] = {**event["headers"], "authorization": f"Bearer {token}"}
    route = find(http["method"], http["path"])
    assert route is not None
    if route.audience is not None:
        answer = authorizer.handler(event, None)
        if answer["isAuthorized"] is not True:
            return {"statusCode": DENIED}
        event["requestContext"]["authorizer"] = {"lambda": answer["context"]}
    return HANDLERS[route.function](event, None)


def ask(token: str, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    return through(token, request(method, path, headers={"content-type": "application/json"}, body=data, **more))


def _upload(token: str, of: str) -> dict[str, Any]:
    _, data = packed(batch(agent_id=of))
    return through(token, request("POST", "/v1/batches", headers={"content-type": "application/gzip"}, body=data))


def _objects(folder: Path) -> list[str]:
    return [each.key for each in DirectoryBucket(folder).objects("")]


@pytest.mark.parametrize("route", [each for each in ROUTES if each.audience is not None], ids=lambda each: each.key)
def test_its_token_opens_its_own_work_and_no_other_route(stolen: Agent, route: Route) -> None:
    path = route.path.replace("{id}", "db-2").replace("{name}", "ann")
    status = ask(stolen.token(), route.method, path, {})["statusCode"]
    assert (status != DENIED) is (route.key in OPENED), status


def test_it_uploads_no_batch_of_another(stolen: Agent, bucket_folder: Path) -> None:
    token = stolen.token()
    status, detail = problem(_upload(token, "db-2"))
    assert (status, "db-2" in detail) == (403, True)
    assert _objects(bucket_folder) == []
    assert _upload(token, "stolen")["statusCode"] == 202
    assert all(key.startswith("batches/v1/agent=stolen/") for key in _objects(bucket_folder))


def test_it_is_given_addresses_below_its_own_prefix_only(stolen: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_BUCKET_URL", "s3://batches")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")  # signing takes no connection
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    token = stolen.token()
    place = {"stream_id": str(uuid4()), "seq": 1, "sent_at": now_us(), "sha256": "0" * 64, "size_bytes": 100}
    granted = json.loads(ask(token, "POST", "/v1/uploads", place)["body"])
    assert granted["key"].startswith("batches/v1/agent=stolen/")
    assert unquote(urlsplit(granted["url"]).path) == f"/batches/{granted['key']}"
    for name, value in (("agent_id", "db-2"), ("key", "batches/v1/agent=db-2/x"), ("stream_id", "../agent=db-2")):
        assert problem(ask(token, "POST", "/v1/uploads", {**place, name: value}))[0] == 422


def test_what_it_puts_below_its_prefix_in_the_name_of_another_is_not_loaded(
    stolen: Agent, bucket_folder: Path, connection: Connection
) -> None:
    """An object by a signed address, or by the agent's own right to the bucket, is read by nobody before the loader."""
    own, _ = packed(batch(agent_id="stolen"))
    _, forged = packed(batch(agent_id="db-2"))
    DirectoryBucket(bucket_folder).create(own, forged)
    assert loader.handler(messages(notification(own)), None)["batchItemFailures"] == []
    assert connection.execute("select count(*) from store.agent").fetchone() == (0,)
    assert connection.execute("select object_key from store.quarantine").fetchall() == [(own,)]


def test_the_configuration_that_it_reads_is_its_own_whatever_it_asks_for(stolen: Agent) -> None:
    token = stolen.token()
    plain = ask(token, "GET", "/v1/config")
    other = ask(token, "GET", "/v1/config", query={"agent_id": "db-2", "scope": "fleet"})
    assert plain["statusCode"] == 200
    assert (other["statusCode"], other["body"]) == (200, plain["body"])


def test_it_enrols_nobody(stolen: Agent) -> None:
    token = stolen.token()
    body = {"csr": Agent("db-3").csr()}
    assert problem(ask(token, "POST", "/v1/agents", body))[0] == 401
    assert ask(token, "POST", "/v1/enrolments", {"uses": 10})["statusCode"] == DENIED
    assert ask(token, "GET", "/v1/enrolments")["statusCode"] == DENIED


def test_it_renews_for_no_other_name(stolen: Agent) -> None:
    status, detail = problem(ask(stolen.token(), "POST", "/v1/certificate", {"csr": stolen.csr("db-2")}))
    assert (status, "not for the caller" in detail) == (409, True)


def test_its_token_alone_becomes_no_certificate_of_the_thief(stolen: Agent) -> None:
    thief = Agent("stolen")
    assert problem(ask(stolen.token(), "POST", "/v1/certificate", {"csr": thief.csr()}))[0] == 422


def test_its_key_speaks_for_no_other_agent(stolen: Agent) -> None:
    lies: list[dict[str, Any]] = [{"iss": "db-2", "sub": "db-2"}, {"sub": "db-2"}, {"iss": "db-2"}]
    for changes in lies:
        assert problem(stolen.ask_for_token(stolen.assertion(**changes)))[0] == 401


def test_it_revokes_nobody(stolen: Agent, connection: Connection) -> None:
    token = stolen.token()
    for path in ("/v1/agents/db-2", "/v1/agents/stolen"):
        assert ask(token, "DELETE", path)["statusCode"] == DENIED
    assert connection.execute("select count(*) from identity.agent where revoked_at is not null").fetchone() == (0,)


def test_once_it_is_revoked_it_has_what_its_last_token_is_worth_and_no_more(stolen: Agent) -> None:
    token = stolen.token()
    assert revoke("stolen", "stolen")["statusCode"] == 204
    assert problem(stolen.ask_for_token())[0] == 401
    assert problem(stolen.ask_for_token(certificate=stolen.certificate))[0] == 401
    assert problem(ask(token, "POST", "/v1/certificate", {"csr": stolen.csr()}))[0] == 403
    assert problem(stolen.ask_to_enrol(enrolment(agent_id="stolen").token))[0] == 422  # its key is known to the thief


def test_a_token_that_is_bound_is_worth_nothing_without_the_host_it_was_stolen_from(stolen: Agent) -> None:
    token = stolen.token(stolen.certificate)
    event = request("GET", "/v1/config")
    assert through(token, event)["statusCode"] == DENIED
    assert through(token, with_certificate(request("GET", "/v1/config"), stolen.certificate))["statusCode"] == 200
