"""Two descriptions of API Gateway, each made by itself from its documentation, say the same of a request."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.routes import find
from infra.standalone.events import HttpRequest, authorizer_event, http_event
from tests.lambdas.gateway import Behind, Gateway, Headers
from tests.lambdas.runtime import FunctionError

TOKEN = ("Authorization", "Bearer x")
REQUESTS: dict[str, tuple[str, str, Headers, bytes]] = {
    "nothing": ("GET", "/v1/version", (), b""),
    "json": ("POST", "/v1/uploads", (TOKEN, ("Content-Type", "application/json; charset=utf-8")), '{"é": 1}'.encode()),
    "gzip": ("POST", "/v1/batches", (TOKEN, ("content-type", "application/gzip")), b"\x1f\x8b\x00"),
    "no utf-8": ("POST", "/v1/uploads", (TOKEN, ("Content-Type", "application/json")), b'"\xff"'),
    "encoded": (
        *("POST", "/v1/uploads"),
        (TOKEN, ("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
        b"{}",
    ),
    "query": ("GET", "/v1/targets?limit=1&limit=2&cursor=a%20b+c&x=", (TOKEN,), b""),
    "twice": ("GET", "/v1/version", (("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1; b=2"), ("Cookie", "c=3")), b""),
    "parameter": ("GET", "/v1/agents/db-1/coverage?from=x", (TOKEN,), b""),
    "escaped": ("GET", "/v1/documents/agent%3Adb-1", (TOKEN,), b""),
}

#: What only one of the two knows, or knows otherwise: names of the API, times, what a proxy adds.
_CONTEXT = {"accountId", "apiId", "domainName", "domainPrefix", "requestId", "time", "timeEpoch"}
_ADDED = {"host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-amzn-trace-id"}


def _comparable(event: dict[str, Any]) -> dict[str, Any]:
    context = {name: value for name, value in event["requestContext"].items() if name not in _CONTEXT}
    # API Gateway decodes a path; both functions and authorizer take it either way.
    context["http"] = {**context["http"], "sourceIp": "", "path": ""}
    headers = {name: value for name, value in event["headers"].items() if name not in _ADDED}
    return {**event, "requestContext": context, "headers": headers, "rawPath": "", "routeArn": ""}


@pytest.mark.parametrize("name", REQUESTS)
def test_events_are_alike(name: str) -> None:
    method, target, headers, body = REQUESTS[name]
    path, _, query = target.partition("?")
    route = find(method, path)
    assert route is not None
    invoked: dict[str, Any] = {}

    def invoke(function: str, event: dict[str, Any]) -> Any:
        invoked[function] = event
        return {"isAuthorized": True, "context": {"sub": "x"}} if function == "authorizer" else {"statusCode": 200}

    open_ = route.audience is None
    gateway = Gateway({route.key: Behind(route.function, None if open_ else "authorizer")}, invoke)
    assert gateway.ask(method, target, headers, body).status == 200
    asked = HttpRequest(method, path, query, tuple(headers), body, source="203.0.113.7")
    event = http_event(asked, route, None if open_ else {"sub": "x"})
    assert _comparable(invoked[route.function]) == {**_comparable(event), "routeArn": ""}
    if not open_:
        assert _comparable(invoked["authorizer"]) == _comparable(authorizer_event(asked, route))


def test_the_gateway_answers_itself_where_no_function_does() -> None:
    def invoke(function: str, _event: dict[str, Any]) -> Any:
        if function == "fails":
            raise FunctionError("ValueError", "what only the log is told")
        return {"isAuthorized": False} if function == "authorizer" else ["no", "status"]

    gateway = Gateway(
        {
            "GET /a": Behind("function", "authorizer"),
            "GET /b": Behind("fails", None),
            "GET /c/{id}": Behind("function", None),
        },
        invoke,
    )
    answers = [
        gateway.ask("GET", "/a"),
        gateway.ask("GET", "/a", [TOKEN]),
        gateway.ask("POST", "/a"),
        gateway.ask("GET", "/b"),
        gateway.ask("GET", "/c/x"),
    ]
    assert [answer.status for answer in answers] == [401, 403, 404, 500, 200]
    assert [answer.json() for answer in answers[2:]] == [
        {"message": "Not Found"},
        {"message": "Internal Server Error"},
        ["no", "status"],
    ]
