"""The HTTP API on one machine: an ASGI application in the place of API Gateway.

Each request becomes an event, goes through the authorizer where its route says so, and then to its function. As with
API Gateway, no Authorization header is a 401 and the authorizer's denial a 403. Errors are problem details, but for
that denial.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.claims import Audience
from contracts.routes import Route, find, methods
from infra.standalone.events import Event, FunctionContext, HttpRequest, authorizer_event, http_event

Handler = Callable[[Event, FunctionContext], dict[str, Any]]

#: What Lambda takes.
MAX_BODY_BYTES = 6 * 1024 * 1024

#: A body that takes longer is given up: 4 MB at 300 kbit/s.
BODY_SECONDS = 110.0

#: Requests past the authorizer at one time; more are told to come back, so that memory has a bound.
MAX_IN_FLIGHT = 200

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _DeniedError(Exception):
    """The authorizer said no."""


class _RefusedError(Exception):
    """The server itself answers, with problem details."""

    def __init__(self, status: HTTPStatus, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Functions:
    """What the application calls: the authorizer, and the handlers by the names in `contracts.routes`.

    `accepted` learns the object's key of every batch that was accepted, before the agent does. All of them are called
    in threads of the executor, several at a time.
    """

    authorizer: Handler
    handlers: Mapping[str, Handler]
    accepted: Callable[[str], None]


class Gateway:
    """The ASGI application."""

    def __init__(self, functions: Functions, executor: Executor) -> None:
        self._functions = functions
        self._executor = executor
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"the server speaks HTTP only, not {scope['type']}")
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        except _DeniedError:
            answer = _denial()
        except _RefusedError as refused:
            answer = _problem(refused.status, refused.detail, refused.headers)
        except Exception:
            logger.exception("a request failed", extra={"method": request.method, "path": request.url.path})
            answer = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error; the server's log has it")
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers.setdefault("Cache-Control", "no-store")
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        route = _route(request.method, path)
        # The authorizer does not see the body: strangers are sent away before any of theirs is read.
        asked = _event_source(request, path, b"")
        caller = None if route.audience is None else await self._authorize(asked, route)
        if self._in_flight >= MAX_IN_FLIGHT:
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at a time", Retry_After="5")
        self._in_flight += 1
        try:
            body = await _body(request)
            event = http_event(_event_source(request, path, body), route, caller)
            return await self._call(functools.partial(self._respond, route, event))
        finally:
            self._in_flight -= 1

    async def _authorize(self, asked: HttpRequest, route: Route) -> Mapping[str, Any]:
        if not any(name == "authorization" for name, _ in asked.headers):
            raise _RefusedError(
                HTTPStatus.UNAUTHORIZED, "Authorization: a bearer token is needed", WWW_Authenticate="Bearer"
            )
        context = FunctionContext("authorizer")
        answer = await self._call(lambda: self._functions.authorizer(authorizer_event(asked, route), context))
        if answer.get("isAuthorized") is not True:
            raise _DeniedError
        caller: Mapping[str, Any] = answer.get("context") or {}
        return caller

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _respond(self, route: Route, event: Event) -> Response:
        answer = self._functions.handlers[route.function](event, FunctionContext(route.function))
        response = _response(answer)
        if (
            route.audience is Audience.AGENT
            and route.function == "ingest"
            and response.status_code == HTTPStatus.ACCEPTED
        ):
            # A folder tells nobody of new objects. The agent hears 202 when the object is queued, too, or sends again.
            try:
                self._functions.accepted(json.loads(bytes(response.body))["key"])
            except Exception as error:
                logger.exception("a batch that was accepted could not be queued")
                raise _RefusedError(
                    HTTPStatus.SERVICE_UNAVAILABLE, "the queue is not available", Retry_After="10"
                ) from error
        return response


def _route(method: str, path: str) -> Route:
    route = find(method, path)
    if route is not None:
        return route
    known = methods(path)
    if known:
        allowed = ", ".join(known)
        raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method}: this path knows {allowed}", Allow=allowed)
    raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such route")


def _event_source(request: Request, path: str, body: bytes) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        path=path,
        query=request.scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]),
        body=body,
        source=request.client.host if request.client else "",
        protocol=f"HTTP/{request.scope['http_version']}",
    )


async def _body(request: Request) -> bytes:
    if (
        int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES
    ):  # the HTTP parser has checked that it is a number
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError as error:
        raise _RefusedError(
            HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_SECONDS:.0f} s", Connection="close"
        ) from error
    return bytes(body)


def _too_large() -> _RefusedError:
    return _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is more than {MAX_BODY_BYTES} bytes")


def _response(answer: Mapping[str, Any]) -> Response:
    """A function's answer (payload format 2.0) as HTTP."""
    body = answer.get("body") or ""
    try:
        content = base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
    except binascii.Error as error:
        raise ValueError("a function answered with a body that is not base64") from error
    response = Response(content, status_code=int(answer["statusCode"]))
    for name, value in (answer.get("headers") or {}).items():
        response.headers[name] = str(value)
    for cookie in answer.get("cookies") or ():
        response.headers.append("Set-Cookie", cookie)
    return response


def _denial() -> Response:
    # In API Gateway's shape, and not in problem details: those are a function's refusal of this very batch, after
    # which an agent sets the batch aside. A token that has expired must not cost a batch.
    content = json.dumps({"message": "the token is not good for this route, or no longer good"})
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Response(content, HTTPStatus.FORBIDDEN, headers, media_type="application/json")


def _problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps({"status": int(status), "title": status.phrase, "detail": detail})
    return Response(content, int(status), dict(headers or {}), media_type="application/problem+json")
