"""Requests and what they are answered, wherever the functions run.

What a gateway answers itself, before any function, differs: `DIFFERENCES` has all of it, and no case says otherwise.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from contracts.codec import encode
from contracts.limits import MAX_AHEAD_US, MAX_COMPRESSED_BYTES, MAX_INFLATED_BYTES
from contracts.version import __version__
from tests.functions.batches import batch as whole_batch
from tests.infra.standalone.serving import batch

JSON, GZIP = "application/json", "application/gzip"
PROBLEM = "application/problem+json"

#: Who is known to the cases: the agent has sent nothing yet, and each operator has the role of their name.
AGENT = "db-1"


@dataclass(frozen=True)
class Own:
    """What each gateway answers itself: status, and body or the detail of a problem."""

    standalone: tuple[int, str]
    lambdas: tuple[int, str]


#: The gateways' own answers. API Gateway's are documented in docs/how-to/deploy-on-aws.md.
DIFFERENCES: Mapping[str, Own] = {
    "no token": Own((401, "Authorization: a bearer token is needed"), (401, "Unauthorized")),
    "denied": Own((403, "the token is not good for this route, or no longer good"), (403, "Forbidden")),
    "no route": Own((404, "there is no such route"), (404, "Not Found")),
    "no method": Own((405, "DELETE: this path knows GET"), (404, "Not Found")),
}


@dataclass(frozen=True)
class Case:
    """A request, and its answer: the status, a part of the body, headers; or the gateway's own answer, by its name.

    `who` has the token that is sent; `says` is a part of a problem's detail, or what a JSON object has.
    """

    name: str
    method: str
    target: str
    who: str | None = None
    content: str | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    says: str | Mapping[str, Any] | None = None
    own: str | None = None

    @property
    def sent(self) -> bytes:
        body = self.body() if callable(self.body) else self.body
        if body is None or isinstance(body, bytes):
            return body or b""
        return json.dumps(body).encode()


def _future() -> int:
    return time.time_ns() // 1000 + 2 * MAX_AHEAD_US


def _upload(**changed: Any) -> Callable[[], dict[str, Any]]:
    now = time.time_ns() // 1000
    said = {"stream_id": str(uuid4()), "seq": 1, "sent_at": now, "sha256": "0" * 64, "size_bytes": 100}
    return lambda: {**said, **changed}


def _ahead() -> bytes:
    return encode(whole_batch(agent_id=AGENT, sent_at=_future(), frames=(), runs=()))


def _batches(name: str, body: Any, status: int, says: str, who: str = "agent", content: str = GZIP) -> Case:
    return Case(name, "POST", "/v1/batches", who, content, body, status=status, says=says)


ANYONE = (
    Case("version", "GET", "/v1/version", says={"version": __version__}),
    Case("health", "GET", "/v1/health", says={"status": "ok", "store": "ok"}),
    Case("description", "GET", "/v1/openapi.json", says={"openapi": "3.1.0"}),
    Case("a query that nobody asked for", "GET", "/v1/version?x=1&x=2&y=%C3%A9", says={"version": __version__}),
    Case("with a cookie", "GET", "/v1/version", headers={"Cookie": "a=1; b=2"}, says={"version": __version__}),
)

REFUSED = (
    Case("no such route", "GET", "/v1/nothing", own="no route"),
    Case("no such route, with a token", "GET", "/v1/agents/a/b/c", "admin", own="no route"),
    Case("no such method", "DELETE", "/v1/version", own="no method"),
    Case("no token", "GET", "/v1/agents", own="no token"),
    Case("no token for a batch", "POST", "/v1/batches", content=GZIP, body=batch(), own="no token"),
    Case("no bearer", "GET", "/v1/agents", headers={"Authorization": "Basic YTpi"}, own="denied"),
    Case("no token of ours", "GET", "/v1/agents", headers={"Authorization": "Bearer a.b.c"}, own="denied"),
    Case("two tokens", "GET", "/v1/agents", headers={"Authorization": "Bearer a, Bearer b"}, own="denied"),
    Case("an agent among operators", "GET", "/v1/agents", "agent", own="denied"),
    Case("an operator among agents", "POST", "/v1/batches", "admin", GZIP, batch(), own="denied"),
    Case("an agent's token that has expired", "GET", "/v1/config", "expired", own="denied"),
    Case("an agent's token that is not good yet", "GET", "/v1/config", "early", own="denied"),
    Case("a token of another's key", "GET", "/v1/config", "strange", own="denied"),
    Case("a viewer who would change something", "PUT", "/v1/documents/fleet", "viewer", JSON, {}, own="denied"),
    Case("an operator who would be admin", "GET", "/v1/users", "operator", own="denied"),
)

BATCHES = (
    _batches("of another type", b"{}", 415, "Content-Type: a batch is application/gzip", content=JSON),
    _batches("of no type", batch(agent_id=AGENT), 415, "Content-Type: a batch is", content=""),
    _batches("empty", b"", 400, "the body is empty"),
    _batches("no gzip", b"nonsense", 400, "gzip"),
    _batches("cut off", batch(agent_id=AGENT)[:-20], 400, "gzip"),
    _batches("no JSON", gzip.compress(b"nonsense"), 400, "not JSON"),
    _batches("no batch", gzip.compress(b"{}"), 422, "agent_id: Field required"),
    _batches("of another agent", batch(agent_id="db-2"), 403, "the batch is db-2's, the token is db-1's"),
    _batches("of the future", _ahead, 422, "ahead"),
    _batches("too large", lambda: os.urandom(MAX_COMPRESSED_BYTES + 1), 413, "compressed"),
    _batches("too large inside", lambda: gzip.compress(bytes(MAX_INFLATED_BYTES + 1), 1), 413, "inflated"),
)

UPLOADS = (
    Case("too large", "POST", "/v1/uploads", "agent", JSON, _upload(size_bytes=10**9), status=413, says="size_bytes"),
    Case("no sha-256", "POST", "/v1/uploads", "agent", JSON, _upload(sha256="x"), status=422, says="body.sha256"),
    Case("a field more", "POST", "/v1/uploads", "agent", JSON, _upload(agent_id="db-2"), status=422, says="agent_id"),
    Case("of the future", "POST", "/v1/uploads", "agent", JSON, lambda: _upload(sent_at=_future())(), status=422),
    Case("no JSON", "POST", "/v1/uploads", "agent", JSON, b"{", status=422, says="body: not JSON in UTF-8"),
    Case("no UTF-8", "POST", "/v1/uploads", "agent", JSON, b'"\xff"', status=422, says="body: not JSON in UTF-8"),
    Case("a form", "POST", "/v1/uploads", "agent", "text/plain", b"a=1", status=415, says="Content-Type"),
)

OPERATORS = (
    Case("an agent that is not there", "GET", "/v1/agents/none/coverage", "viewer", status=404, says="no agent none"),
    Case("a target that is not there", "GET", "/v1/targets/1", "viewer", status=404, says="there is no target 1"),
    Case("no number", "GET", "/v1/targets/one", "viewer", status=422, says="id"),
    Case("no metric", "GET", "/v1/targets/1/metrics", "viewer", status=422, says="metric"),
    Case("a cursor of somebody's own", "GET", "/v1/agents?cursor=x", "viewer", status=400, says="cursor"),
    Case("too many", "GET", "/v1/agents?limit=100000", "viewer", status=422, says="limit"),
    Case("no time zone", "GET", "/v1/agents/none/coverage?from=2026-01-01T00:00:00", "viewer", status=422, says="from"),
    Case("a document's scope", "GET", "/v1/documents/nonsense", "viewer", status=422, says="scope"),
    Case("a scope without versions", "GET", "/v1/documents/agent%3Anone", "viewer", status=404, says="agent:none"),
    Case(
        "a document that is none",
        *("PUT", "/v1/documents/agent:x", "operator", JSON),
        {"document": {"pull_every_seconds": -1}},
        status=422,
        says="pull_every_seconds",
    ),
    Case(
        "a user's password",
        "POST",
        "/v1/users",
        "admin",
        JSON,
        {"name": "a", "role": "viewer", "password": "x"},
        status=422,
        says="body.password",
    ),
    Case(
        "a user that is not there",
        "PATCH",
        "/v1/users/none",
        "admin",
        JSON,
        {"disabled": True},
        status=404,
        says="none",
    ),
    Case("an enrolment that is not there", "DELETE", f"/v1/enrolments/{'0' * 16}", "operator", status=404, says="0000"),
    Case("an agent that was never enrolled", "DELETE", "/v1/agents/none", "admin", status=404, says="no agent none"),
    Case("a release that is not there", "GET", "/v1/releases/1", "viewer", status=404, says="1"),
    Case(
        "a login",
        "POST",
        "/v1/auth/login",
        None,
        JSON,
        {"name": "nobody", "password": "wrong"},
        status=401,
        says="password",
    ),
    Case("a refresh", "POST", "/v1/auth/refresh", None, JSON, {"refresh_token": "x"}, status=401),
    Case(
        "an assertion",
        "POST",
        "/v1/token",
        None,
        JSON,
        {"grant_type": "x", "assertion": "y"},
        status=422,
        says="grant_type",
    ),
    Case(
        "an enrolment token",
        "POST",
        "/v1/agents",
        None,
        JSON,
        {"csr": "x"},
        {"Authorization": f"Bearer pge_{'x' * 43}"},
        status=401,
    ),
    Case("no enrolment token", "POST", "/v1/agents", None, JSON, {"csr": "x"}, status=401),
)

ALL = {
    f"{group}: {case.name}": case
    for group, cases in {
        "anyone": ANYONE,
        "refused": REFUSED,
        "batch": BATCHES,
        "upload": UPLOADS,
        "operator": OPERATORS,
    }.items()
    for case in cases
}
