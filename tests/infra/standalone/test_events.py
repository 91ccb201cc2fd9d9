"""Events have the shapes that AWS documents."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2, SQSEvent
from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import APIGatewayAuthorizerEventV2

from contracts.routes import Route, find
from functions.ingest.loader import object_keys
from infra.standalone.events import HttpRequest, authorizer_event, http_event, queue_event
from infra.standalone.queue import Message

AT = datetime(2026, 3, 12, 19, 3, 58, 250_000, UTC)
KEY = "batches/v1/agent=db-1/dt=2026-03-12/0b0f9c2e-0000-4000-8000-000000000001-000000000001-0123456789abcdef.json.gz"


def route(method: str, path: str) -> Route:
    found = find(method, path)
    assert found is not None
    return found


def test_a_request_becomes_the_event_of_payload_format_2() -> None:
    request = HttpRequest(
        "GET",
        "/v1/targets/a%2Fb",
        query="limit=10&tag=a&tag=b+c&empty=",
        headers=(
            ("Host", "pg.example.org"),
            ("User-Agent", "test/1"),
            ("X-Twice", "one"),
            ("x-twice", "two"),
            ("Cookie", "a=1; b=2"),
        ),
        source="192.0.2.7",
        id="r-1",
        at=AT,
    )
    assert http_event(request, route("GET", "/v1/targets/1"), {"sub": "alice"}) == {
        "version": "2.0",
        "routeKey": "GET /v1/targets/{id}",
        "rawPath": "/v1/targets/a%2Fb",
        "rawQueryString": "limit=10&tag=a&tag=b+c&empty=",
        "cookies": ["a=1", "b=2"],
        "headers": {"host": "pg.example.org", "user-agent": "test/1", "x-twice": "one,two"},
        "queryStringParameters": {"limit": "10", "tag": "a,b c", "empty": ""},
        "pathParameters": {"id": "a/b"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "pganalytics",
            "authorizer": {"lambda": {"sub": "alice"}},
            "domainName": "pg.example.org",
            "domainPrefix": "pg",
            "http": {
                "method": "GET",
                "path": "/v1/targets/a%2Fb",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "test/1",
            },
            "requestId": "r-1",
            "routeKey": "GET /v1/targets/{id}",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238250,
        },
        "isBase64Encoded": False,
    }


def test_what_would_be_empty_is_left_out() -> None:
    event = http_event(HttpRequest("GET", "/v1/health"), route("GET", "/v1/health"))
    assert not {"body", "cookies", "queryStringParameters", "pathParameters"} & event.keys()
    assert "authorizer" not in event["requestContext"]


@pytest.mark.parametrize("media_type", ["application/json", "text/plain; charset=utf-8", "application/problem+json"])
def test_text_travels_as_text(media_type: str) -> None:
    request = HttpRequest("POST", "/v1/batches", headers=(("Content-Type", media_type),), body='{"é": 1}'.encode())
    event = http_event(request, route("POST", "/v1/batches"))
    assert (event["body"], event["isBase64Encoded"]) == ('{"é": 1}', False)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((("Content-Type", "application/gzip"),), b"\x1f\x8b"),
        ((("Content-Type", "application/json"), ("Content-Encoding", "gzip")), b"{}"),
        ((("Content-Type", "text/plain"),), b"\xff"),
        ((), b"{}"),
    ],
)
def test_anything_else_travels_in_base64(headers: tuple[tuple[str, str], ...], body: bytes) -> None:
    event = APIGatewayProxyEventV2(
        http_event(HttpRequest("POST", "/v1/batches", headers=headers, body=body), route("POST", "/v1/batches"))
    )
    assert event.is_base64_encoded
    assert base64.b64decode(event.body or "") == body


def test_the_authorizer_sees_its_identity_source_and_never_the_body() -> None:
    request = HttpRequest("POST", "/v1/batches", headers=(("Authorization", "Bearer x"),), body=b"secret")
    event = APIGatewayAuthorizerEventV2(authorizer_event(request, route("POST", "/v1/batches")))
    assert (event.get_type, event.version, event.identity_source) == ("REQUEST", "2.0", ["Bearer x"])
    assert event.parsed_arn.http_method == "POST"
    assert event.parsed_arn.resource == "v1/batches"
    assert "body" not in event.raw_event


def test_a_message_becomes_the_notification_that_s3_would_send() -> None:
    event = queue_event([Message(7, KEY, 3, AT)])
    (record,) = SQSEvent(event).records
    assert (record.message_id, record.attributes.approximate_receive_count) == ("7", "3")
    (notified,) = json.loads(record.body)["Records"]
    assert "agent%3Ddb-1/dt%3D2026" in notified["s3"]["object"]["key"]
    assert list(object_keys(record.body)) == [KEY]
