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
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.claims import Audience
from contracts.routes import Route, find, methods
from functions.addresses import network
from functions.http import PROBLEM, SAFE_HEADERS, STRICT_TRANSPORT, problem_text
from infra.standalone.events import Event, FunctionContext, HttpRequest, authorizer_event, http_event
from infra.standalone.limits import DEFAULTS, Buckets, BusyError, Limits, Places
from infra.standalone.pools import Pools
from infra.standalone.protocol import CLIENT_CERT, MAX_HEAD_BYTES
from infra.standalone.settings import is_loopback

Handler = Callable[[Event, FunctionContext], dict[str, Any]]

#: A batch: what Lambda takes. Nothing else that is sent has more than a page of text.
MAX_BODY_BYTES = 6 * 1024 * 1024
MAX_SMALL_BODY_BYTES = 64 * 1024

#: A monitor on this machine hears of its server whatever others ask for.
_ALWAYS_FROM_HERE = {"/v1/health", "/v1/version"}

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
    """The ASGI application.

    Requests with a good token count against their caller; those without, and those of open routes, against the address
    that they come from. The authorizer is asked first, so that no stranger of the same address stops an agent.
    """

    def __init__(
        self,
        functions: Functions,
        pools: Pools,
        limits: Limits = DEFAULTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._functions = functions
        self._pools = pools
        self._limits = limits
        self._callers = Buckets(limits.agent_rate, clock)
        self._addresses = Buckets(limits.address_rate, clock)
        self._uploads = Places(limits.uploads, limits.agent_uploads)  # each has its batch in memory

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
        except BusyError as busy:
            status = HTTPStatus.TOO_MANY_REQUESTS if busy.of_one else HTTPStatus.SERVICE_UNAVAILABLE
            answer = _problem(status, str(busy), {"Retry-After": "5"})
        except Exception:
            logger.exception("a request failed", extra={"method": request.method, "path": request.url.path})
            answer = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error; the server's log has it")
        for name, value in {**SAFE_HEADERS, **(STRICT_TRANSPORT if scope["scheme"] == "https" else {})}.items():
            answer.headers.setdefault(name, value)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        # The authorizer does not see the body: strangers are sent away before any of theirs is read.
        asked = _without_body(request)
        route, caller = await self._admitted(asked)
        if route.function != "ingest":
            body = await _body(request, MAX_SMALL_BODY_BYTES, self._limits.head_seconds)
            return await self._call(replace(asked, body=body), route, caller)
        with self._uploads.place(_name(caller)):
            body = await _body(request, MAX_BODY_BYTES, self._limits.body_seconds)
            return await self._call(replace(asked, body=body), route, caller)

    async def _admitted(self, asked: HttpRequest) -> tuple[Route, Mapping[str, Any] | None]:
        try:
            _check_head(asked)
            route = _route(asked.method, asked.path)
            caller = None if route.audience is None else await self._authorize(asked, route)
        except (_DeniedError, _RefusedError):
            self._count(self._addresses, network(asked.source))
            raise
        if caller is not None:
            self._count(self._callers, _name(caller))
        elif not (route.path in _ALWAYS_FROM_HERE and is_loopback(asked.source)):
            self._count(self._addresses, network(asked.source))
        return route, caller

    @staticmethod
    def _count(buckets: Buckets, whom: tuple[Any, ...] | str) -> None:
        seconds = buckets.take(whom)
        if seconds:
            raise _RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, f"too many requests; come back in {seconds} s", Retry_After=str(seconds)
            )

    async def _authorize(self, asked: HttpRequest, route: Route) -> Mapping[str, Any]:
        if not any(name == "authorization" for name, _ in asked.headers):
            raise _RefusedError(
                HTTPStatus.UNAUTHORIZED, "Authorization: a bearer token is needed", WWW_Authenticate="Bearer"
            )
        context = FunctionContext("authorizer")
        event = authorizer_event(asked, route)
        answer = await self._pools.authorizer.run(lambda: self._functions.authorizer(event, context))
        if answer.get("isAuthorized") is not True:
            raise _DeniedError
        caller: Mapping[str, Any] = answer.get("context") or {}
        return caller

    async def _call(self, request: HttpRequest, route: Route, caller: Mapping[str, Any] | None) -> Response:
        event = http_event(request, route, caller)
        return await self._pools.of(route).run(functools.partial(self._respond, route, event))

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


def _without_body(request: Request) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        path=request.scope["raw_path"].decode("latin-1"),
        query=request.scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]),
        source=request.client.host if request.client else "",
        protocol=f"HTTP/{request.scope['http_version']}",
        client_cert=request.scope.get("state", {}).get(CLIENT_CERT),
    )


def _check_head(asked: HttpRequest) -> None:
    # The protocol stops reading there; what came all at once has been read by then.
    size = len(asked.path) + len(asked.query) + sum(len(name) + len(value) + 4 for name, value in asked.headers)
    if size > MAX_HEAD_BYTES:
        raise _RefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the request's line and headers are more than {MAX_HEAD_BYTES} bytes",
        )

    if {"content-length", "transfer-encoding"} <= {name for name, _ in asked.headers}:
        # A proxy in front might see another end of the body, and so another next request (RFC 9112, section 6.3).
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length and Transfer-Encoding together", Connection="close")


def _name(caller: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Whose requests are counted together."""
    return (caller.get("aud"), caller.get("sub")) if caller else ()


async def _body(request: Request, most: int, seconds: float) -> bytes:
    if int(request.headers.get("content-length", 0)) > most:  # the HTTP parser has checked that it is a number
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError as error:
        raise _RefusedError(
            HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {seconds:g} s", Connection="close"
        ) from error
    return bytes(body)


def _too_large(most: int) -> _RefusedError:
    return _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is more than {most} bytes")


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
    return Response(problem_text(status, detail), int(status), dict(headers or {}), media_type=PROBLEM)
