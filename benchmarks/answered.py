"""What each request of an agent takes in the function that answers it, called as Lambda calls it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from agent.identity.signing import Key, generate
from benchmarks.clock import Clock, Took
from contracts.claims import AgentClaims, Audience
from contracts.codec import decode, sha256
from contracts.identity import Enrolled, EnrolmentAsked
from contracts.routes import find
from contracts.uploads import UploadAsked
from functions.authorizer import door as identity
from functions.authorizer import enrolments
from functions.authorizer import handler as authorizer
from functions.authorizer import parts as identity_parts
from functions.authorizer.authority import create
from functions.authorizer.keys import dump, load
from functions.authorizer.keys import generate as new_key
from functions.authorizer.tokens import issue
from functions.config import handler as config
from functions.config import parts as config_parts
from functions.ingest import door
from infra.standalone.events import Event, FunctionContext, HttpRequest, authorizer_event, http_event

#: Requests of each kind; assertions need a signature each.
_TIMES, _TOKENS = 2000, 300

_BATCHES = "/v1/batches"

Handler = Callable[[Event, FunctionContext], Event]


@dataclass(frozen=True)
class Answers:
    """One request of each kind, and the bytes of its answers' heads and bodies."""

    batch: Took
    upload: Took
    authorize: Took
    unchanged: Took  # GET /v1/config, 304
    token: Took


def measure_answers(dsn: str, folder: Path, bodies: Sequence[bytes]) -> Answers:
    """With this store and a folder for bucket and secrets; `bodies` are batches that the bucket may not have yet."""
    keys, authority = folder / "keys.json", folder / "authority.pem"
    keys.touch(0o600)
    keys.write_text(dump([new_key()]))
    authority.touch(0o600)
    authority.write_text(create("benchmark", 30, datetime.now(UTC)))
    bucket = folder / "door"
    bucket.mkdir()
    told = {
        "PGANALYTICS_STORE_DSN": dsn,
        "PGANALYTICS_KEYS_FILE": str(keys),
        "PGANALYTICS_AUTHORITY_FILE": str(authority),
        "PGANALYTICS_BUCKET_URL": f"file://{bucket}",
        # Addresses are signed without asking anybody.
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    with _environment(told):
        batch = _timed(Clock(), door.handler, [_batch(body) for body in bodies], HTTPStatus.ACCEPTED)
        door._bucket.cache_clear()  # noqa: SLF001 - another bucket
        os.environ["PGANALYTICS_BUCKET_URL"] = "s3://benchmark"
        upload = _timed(Clock(), door.handler, [_upload(bodies[0])] * _TIMES, HTTPStatus.CREATED)
        return Answers(batch, upload, _authorize(keys), _unchanged(), _token())


def _timed(clock: Clock, handler: Handler, events: Sequence[Event], status: HTTPStatus) -> Took:
    """What one of these events takes; the first of them is not counted."""
    context, statuses = FunctionContext("benchmark"), set()
    statuses.add(handler(events[0], context)["statusCode"])

    def work() -> None:
        statuses.update(handler(event, context)["statusCode"] for event in events[1:])

    took = clock.took(len(events) - 1, work)
    if statuses != {status}:
        raise RuntimeError(f"answered {statuses}, not {status}")
    return took


def _event(method: str, path: str, headers: Mapping[str, str], body: bytes = b"", agent: str | None = None) -> Event:
    route = find(method, path)
    assert route is not None
    claims = None if agent is None else _claims(agent).model_dump(mode="json", exclude={"cnf"})
    return http_event(HttpRequest(method, path, headers=tuple(headers.items()), body=body), route, claims)


def _claims(agent: str) -> AgentClaims:
    now = int(time.time())
    return AgentClaims(
        iss="pganalytics", aud=Audience.AGENT, sub=agent, iat=now, nbf=now, exp=now + 900, jti=f"{agent:>032}"
    )


def _batch(body: bytes) -> Event:
    return _event("POST", _BATCHES, {"content-type": "application/gzip"}, body, decode(body).agent_id)


def _upload(body: bytes) -> Event:
    batch = decode(body)
    asked = UploadAsked(
        stream_id=batch.stream_id, seq=batch.seq, sent_at=batch.sent_at, sha256=sha256(body), size_bytes=len(body)
    )
    headers = {"content-type": "application/json"}
    return _event("POST", "/v1/uploads", headers, asked.model_dump_json().encode(), batch.agent_id)


def _authorize(keys: Path) -> Took:
    route = find("POST", _BATCHES)
    assert route is not None
    token = issue(_claims("db-1"), load(keys))
    request = HttpRequest("POST", _BATCHES, headers=(("authorization", f"Bearer {token}"),))
    event, context = authorizer_event(request, route), FunctionContext("benchmark")
    if not authorizer.handler(event, context)["isAuthorized"]:
        raise RuntimeError("the authorizer denied a good token")
    return Clock().took(_TIMES, lambda: [authorizer.handler(event, context) for _ in range(_TIMES)])


def _unchanged() -> Took:
    answer = config.handler(_event("GET", "/v1/config", {}, agent="db-1"), FunctionContext("benchmark"))
    event = _event("GET", "/v1/config", {"if-none-match": _header(answer, "etag")}, agent="db-1")
    return _timed(Clock.of(config_parts.store()), config.handler, [event] * _TIMES, HTTPStatus.NOT_MODIFIED)


def _header(answer: Event, name: str) -> str:
    headers: dict[str, Any] = {**answer.get("headers", {}), **answer.get("multiValueHeaders", {})}
    found = {key.lower(): value for key, value in headers.items()}[name]
    return str(found[0] if isinstance(found, list) else found)


def _token() -> Took:
    with identity_parts.store().transaction() as connection:
        enrolment = enrolments.create(connection, EnrolmentAsked(), "benchmark", datetime.now(UTC))
    key, kind = Key(generate()), {"content-type": "application/json"}
    asked = json.dumps({"csr": key.request("db-1")}).encode()
    bearer = {"authorization": f"Bearer {enrolment.token}"}
    answer = identity.handler(_event("POST", "/v1/agents", kind | bearer, asked), FunctionContext("benchmark"))
    audience = Enrolled.model_validate_json(answer["body"]).audience

    def event() -> Event:
        said = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": key.assertion("db-1", audience, time.time()),
        }
        return _event("POST", "/v1/token", kind, json.dumps(said).encode())

    events = [event() for _ in range(_TOKENS)]
    return _timed(Clock.of(identity_parts.store()), identity.handler, events, HTTPStatus.OK)


@contextmanager
def _environment(told: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(told)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for store in (config_parts.store, identity_parts.store):
            if store.cache_info().currsize:
                store().close()
                store.cache_clear()
