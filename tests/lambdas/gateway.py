"""An HTTP API of API Gateway, as far as its documentation and what others saw of it say how it behaves.

Written from AWS's pages and not from `infra.standalone.events`, so that each shows where the other is wrong: *Create
AWS Lambda proxy integrations for HTTP APIs* (payload format 2.0), *Control access to HTTP APIs with AWS Lambda
authorizers*. That the path comes decoded, they do not say; API Gateway was seen doing so.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.aws import REGION
from tests.lambdas.runtime import FunctionError

Event = dict[str, Any]
Headers = Sequence[tuple[str, str]]

_ACCOUNT, _API = "123456789012", "r3pmxmplak"
_DOMAIN = f"{_API}.execute-api.{REGION}.amazonaws.com"

#: Bodies of these types are handed on as text.
_TEXT = re.compile(r"text/.*|application/(json|xml|javascript)")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Behind:
    """What is behind a route: the function that answers, and the authorizer before it, if there is one."""

    function: str
    authorizer: str | None
    identity_sources: tuple[str, ...] = ("$request.header.Authorization",)


class Gateway:
    """`invoke` is given a function's name and an event."""

    def __init__(self, routes: Mapping[str, Behind], invoke: Callable[[str, Event], Any]) -> None:
        self._routes = {key: (_pattern(key), behind) for key, behind in routes.items()}
        self._invoke = invoke
        self._numbers = itertools.count(1)

    def ask(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """What a client is answered: by the gateway itself, or by a function."""
        for key, (pattern, behind) in self._routes.items():
            match = pattern.fullmatch(f"{method} {urlsplit(target).path}")
            if match:
                return self._answer(self._event(key, match.groupdict(), method, target, headers), behind, body)
        return _own(404, "Not Found")

    def _answer(self, event: Event, behind: Behind, body: bytes) -> Answer:
        try:
            if behind.authorizer is not None:
                shown = [_identity(event, source) for source in behind.identity_sources]
                if not all(shown):  # one is missing: nobody is asked
                    return _own(401, "Unauthorized")
                answer = self._invoke(behind.authorizer, _of_authorizer(event, shown))
                if answer["isAuthorized"] is not True:
                    return _own(403, "Forbidden")
                context = {**event["requestContext"], "authorizer": {"lambda": answer.get("context") or None}}
                event = {**event, "requestContext": context}
            return _http(self._invoke(behind.function, _with_body(event, body)))
        except (FunctionError, KeyError):
            return _own(500, "Internal Server Error")

    def _event(self, key: str, parameters: Mapping[str, str], method: str, target: str, headers: Headers) -> Event:
        parts = urlsplit(target)
        joined: dict[str, str] = {}
        cookies: list[str] = []
        for name, value in ((name.lower(), value) for name, value in headers):
            if name == "cookie":
                cookies += value.split("; ")
            else:
                joined[name] = f"{joined[name]},{value}" if name in joined else value
        joined |= {"host": _DOMAIN, "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}
        joined |= {"x-forwarded-port": "443", "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e"}
        query: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
        now = time.time()
        event: Event = {
            "version": "2.0",
            "routeKey": key,
            "rawPath": unquote(parts.path),
            "rawQueryString": parts.query,
            "headers": joined,
            "requestContext": {
                "accountId": _ACCOUNT,
                "apiId": _API,
                "domainName": _DOMAIN,
                "domainPrefix": _API,
                "http": {
                    "method": method,
                    "path": unquote(parts.path),
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": joined.get("user-agent", ""),
                },
                "requestId": f"JKJaXmPLvHcESHA{next(self._numbers)}=",
                "routeKey": key,
                "stage": "$default",
                "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
                "timeEpoch": int(now * 1000),
            },
        }
        named = {name: unquote(value) for name, value in parameters.items()}
        optional = {"cookies": cookies, "queryStringParameters": query, "pathParameters": named}
        return {**event, **{name: value for name, value in optional.items() if value}}


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(key)))


def _identity(event: Event, source: str) -> str:
    kind, _, name = source.removeprefix("$").rpartition(".")
    found = {"request.header": event["headers"], "context": event["requestContext"]}[kind]
    return str(found.get(name.lower() if kind == "request.header" else name, ""))


def _of_authorizer(event: Event, shown: Sequence[str]) -> Event:
    """The authorizer sees the request without its body."""
    request = event["requestContext"]["http"]
    arn = f"arn:aws:execute-api:{REGION}:{_ACCOUNT}:{_API}/$default/{request['method']}{request['path']}"
    return {**event, "type": "REQUEST", "routeArn": arn, "identitySource": list(shown)}


def _with_body(event: Event, body: bytes) -> Event:
    if not body:
        return {**event, "isBase64Encoded": False}
    media_type = event["headers"].get("content-type", "").partition(";")[0].strip().lower()
    if _TEXT.fullmatch(media_type) and "content-encoding" not in event["headers"]:
        try:
            return {**event, "body": body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {**event, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _http(answer: Any) -> Answer:
    """A function's answer as HTTP; without a status code its whole answer is the body, with 200."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Answer(200, {"content-type": "application/json"}, json.dumps(answer).encode())
    text = answer.get("body") or ""
    content = base64.b64decode(text, validate=True) if answer.get("isBase64Encoded") else text.encode()
    headers = {name.lower(): str(value) for name, value in (answer.get("headers") or {}).items()}
    if answer.get("cookies"):
        headers["set-cookie"] = ", ".join(answer["cookies"])
    return Answer(int(answer["statusCode"]), headers, content)


def _own(status: int, message: str) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps({"message": message}).encode())
