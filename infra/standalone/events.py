"""Events as API Gateway, S3 and SQS write them, from what happens on one machine.

Shapes: HTTP API payload format 2.0, for functions and for Lambda authorizers; S3 event message structure 2.1 in the
bodies of SQS records (the AWS documentation has examples of each).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote

from contracts.routes import Route
from infra.standalone.queue import Message

Event = dict[str, Any]

_REGION = "standalone"
_ACCOUNT = "000000000000"
_API = "pganalytics"
_ARN = f"arn:aws:sqs:{_REGION}:{_ACCOUNT}:batches"

# What API Gateway hands on as text; any other body, and any that is compressed, travels in base64.
_TEXT = re.compile(r"text/.*|application/(json|.*\+json|xml|.*\+xml|javascript)")


@dataclass(frozen=True)
class HttpRequest:
    """An HTTP request; `path` and `query` as they came, percent signs and all; names of headers in any case.

    `client_cert` is the client's certificate over mutual TLS, as `infra.standalone.certificate` reads it.
    """

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    source: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"
    client_cert: Mapping[str, Any] | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class FunctionContext:
    """What functions receive as Lambda's context."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 0

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{_REGION}:{_ACCOUNT}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def http_event(request: HttpRequest, route: Route, caller: Mapping[str, Any] | None = None) -> Event:
    """The event for a function; `caller` is the context that the authorizer answered."""
    event = _common(request, route)
    if caller is not None:
        event["requestContext"]["authorizer"] = {"lambda": dict(caller)}
    if not request.body:
        return {**event, "isBase64Encoded": False}
    text = _as_text(request.body, event["headers"])
    if text is None:
        return {**event, "body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}
    return {**event, "body": text, "isBase64Encoded": False}


def authorizer_event(request: HttpRequest, route: Route) -> Event:
    """The event for the authorizer, whose identity source is the header Authorization. It never has the body."""
    event = _common(request, route)
    path = f"{request.method}{request.path}"
    return {
        **event,
        "type": "REQUEST",
        "routeArn": f"arn:aws:execute-api:{_REGION}:{_ACCOUNT}:{_API}/$default/{path}",
        "identitySource": [event["headers"]["authorization"]],
    }


def _common(request: HttpRequest, route: Route) -> Event:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for given, value in request.headers:
        name = given.lower()
        if name == "cookie":  # has a field of its own, and no header
            cookies += [cookie.strip() for cookie in value.split(";")]
        else:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    match = route.pattern.fullmatch(request.path)
    parameters = {name: unquote(value) for name, value in match.groupdict().items()} if match else {}
    event: Event = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": _ACCOUNT,
            "apiId": _API,
            "domainName": headers.get("host", ""),
            "domainPrefix": headers.get("host", "").split(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": request.protocol,
                "sourceIp": request.source,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request.id,
            "routeKey": route.key,
            "stage": "$default",
            "time": request.at.strftime("%d/%b/%Y:%H:%M:%S %z"),
            "timeEpoch": int(request.at.timestamp() * 1000),
        },
    }
    if request.client_cert is not None:
        event["requestContext"]["authentication"] = {"clientCert": dict(request.client_cert)}
    # API Gateway leaves these out when they would be empty.
    optional = {"cookies": cookies, "queryStringParameters": query, "pathParameters": parameters}
    return {**event, **{name: value for name, value in optional.items() if value}}


def _as_text(body: bytes, headers: Mapping[str, str]) -> str | None:
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if not _TEXT.fullmatch(media_type) or "content-encoding" in headers:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def queue_event(messages: Iterable[Message]) -> Event:
    """The event for the loader: each message's body is an object's key, handed on as S3's notification of it."""
    return {"Records": [_record(message) for message in messages]}


def _record(message: Message) -> Event:
    body = json.dumps({"Records": [_notification(message.body, message.sent_at)]})
    sent = str(int(message.sent_at.timestamp() * 1000))
    return {
        "messageId": str(message.id),
        "receiptHandle": f"{message.id}-{message.receives}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "ApproximateFirstReceiveTimestamp": sent,
            "SenderId": _ACCOUNT,
            "SentTimestamp": sent,
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": _ARN,
        "awsRegion": _REGION,
    }


def _notification(key: str, at: datetime) -> Event:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": _REGION,
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "batches",
            "bucket": {"name": "standalone", "arn": "arn:aws:s3:::standalone"},
            # As a form encodes it, but for the slashes: what S3 itself does.
            "object": {"key": quote_plus(key, safe="/")},
        },
    }
