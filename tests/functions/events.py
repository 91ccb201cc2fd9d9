"""Events as AWS gives them to the functions."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import quote, urlencode

from contracts.claims import AgentClaims, Audience, OperatorClaims


def agent_claims(sub: str = "agent-1", *, now: int | None = None) -> AgentClaims:
    at = int(time.time()) if now is None else now
    return AgentClaims(
        iss="pganalytics", exp=at + 900, nbf=at, iat=at, jti="0123456789abcdef", aud=Audience.AGENT, sub=sub
    )


def operator_claims(role: Any = "viewer", *, now: int | None = None) -> OperatorClaims:
    at = int(time.time()) if now is None else now
    return OperatorClaims(
        iss="pganalytics",
        exp=at + 900,
        nbf=at,
        iat=at,
        jti="0123456789abcdef",
        aud=Audience.OPERATOR,
        sub="ann",
        scope=role,
    )


def request(
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    *,
    claims: AgentClaims | OperatorClaims | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> dict[str, Any]:
    """An event of an HTTP API, payload 2.0, behind the authorizer where there are claims."""
    context: dict[str, Any] = {
        "accountId": "000000000000",
        "apiId": "api",
        "domainName": "localhost",
        "domainPrefix": "localhost",
        "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test"},
        "requestId": "id",
        "routeKey": f"{method} {path}",
        "stage": "$default",
        "time": "01/Jan/2026:00:00:00 +0000",
        "timeEpoch": 0,
    }
    if claims is not None:
        context["authorizer"] = {"lambda": claims.model_dump(mode="json")}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": headers or {},
        "requestContext": context,
        "isBase64Encoded": body is not None,
    }
    if query:
        event["queryStringParameters"] = query
    if body is not None:
        event["body"] = base64.b64encode(body).decode()
    return event


def upload(data: bytes, *, agent: str = "agent-1", media_type: str = "application/gzip") -> dict[str, Any]:
    return request("POST", "/v1/batches", claims=agent_claims(agent), headers={"content-type": media_type}, body=data)


def notification(*keys: str) -> str:
    """What S3 puts into the queue for new objects."""
    return json.dumps(
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": quote(key)}}} for key in keys]}
    )


def messages(*bodies: str) -> dict[str, Any]:
    """An event of a queue; the messages are m0, m1…"""
    return {
        "Records": [
            {
                "messageId": f"m{index}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:batches",
                "awsRegion": "us-east-1",
            }
            for index, body in enumerate(bodies)
        ]
    }


def problem(answer: dict[str, Any]) -> tuple[int, str]:
    """The status and detail of an answer that is problem details."""
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    body = json.loads(answer["body"])
    assert body.keys() == {"status", "title", "detail"}
    assert body["status"] == answer["statusCode"]
    return body["status"], body["detail"]
