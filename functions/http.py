"""HTTP as every function speaks it: Powertools' resolver for API Gateway, and errors as problem details (RFC 9457)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter, ResponseBuilder, Route
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares.openapi_validation import OpenAPIRequestValidationMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from contracts.claims import CLAIMS, AgentClaims, OperatorClaims
from functions.outages import StoreUnavailableError

PROBLEM = "application/problem+json"

#: What every answer says to whoever shows it: it is what it says it is; keep it nowhere, run and embed nothing of it.
SAFE_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

#: And over TLS: come back by TLS only (RFC 6797).
STRICT_TRANSPORT: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}

logger = Logger(service="pganalytics")


class Problem(BaseModel):
    """Why a request was not answered as hoped: problem details (RFC 9457)."""

    status: int
    title: str
    detail: str


class ProblemError(Exception):
    """An answer other than success: `detail` names what the caller should mend."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class _JsonBody(OpenAPIRequestValidationMiddleware):
    """Takes JSON and nothing else as a body.

    Powertools also reads forms; and for what is no UTF-8, or nests too deep, or has a number of 4,300 digits, it
    blames itself.
    """

    def _get_body(self, app: HttpApi) -> object:  # type: ignore[override]
        event = app.current_event
        media_type = event.headers.get("content-type", "").split(";")[0].strip().lower()
        if media_type not in {"", content_types.APPLICATION_JSON}:
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: a body is {content_types.APPLICATION_JSON}"
            )
        try:
            return event.json_body
        except (ValueError, RecursionError):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "body: not JSON in UTF-8") from None


class HttpApi(APIGatewayHttpResolver):
    """Powertools' resolver, safe to call from several threads.

    Powertools keeps the event in an attribute of a class that all resolvers share, which is right in Lambda, where a
    process has one event at a time. The standalone server has many, so here each thread has its own.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._building = threading.Lock()
        # An answer that is not what the route declares is our fault, not the caller's: 500, where 422 is the default.
        super().__init__(
            enable_validation=True, debug=False, response_validation_error_http_code=HTTPStatus.INTERNAL_SERVER_ERROR
        )
        self._request_validation_middleware = _JsonBody()  # type: ignore[no-untyped-call]
        self.exception_handler(ProblemError)(_answer_problem)
        self.exception_handler(StoreUnavailableError)(_answer_unavailable)
        self.exception_handler(RequestValidationError)(_answer_invalid)
        self.exception_handler(NotFoundError)(_answer_not_found)
        self.exception_handler(Exception)(_answer_failure)

    def resolve(self, event: Mapping[str, Any], context: object) -> dict[str, Any]:
        self._local.event = APIGatewayProxyEventV2(dict(event))
        self._local.lambda_context = context
        try:
            answer: dict[str, Any] = self._build_response(self._resolve())
            answer["headers"] = {**_safe(self.current_event.headers), **answer["headers"]}
            return answer
        finally:
            self.clear_context()  # type: ignore[no-untyped-call]

    def _call_route(self, route: Route, route_arguments: dict[str, str]) -> ResponseBuilder[Any]:
        # Powertools builds a route's stack at its first request; two threads at once would wrap it twice.
        with self._building:
            if not route._middleware_stack_built:  # noqa: SLF001
                route._build_middleware_stack(router_middlewares=self._router_middlewares, app=self)  # noqa: SLF001
        # A client may write any character of a path as %XX; no name of ours has a percent sign of its own.
        return super()._call_route(route, {name: unquote(value) for name, value in route_arguments.items()})

    @property
    def current_event(self) -> APIGatewayProxyEventV2:  # type: ignore[override]
        event: APIGatewayProxyEventV2 = self._local.event
        return event

    @property
    def lambda_context(self) -> LambdaContext:  # type: ignore[override]
        context: LambdaContext = self._local.lambda_context
        return context

    @property
    def context(self) -> dict[str, Any]:
        if not hasattr(self._local, "context"):
            self._local.context = {}
        values: dict[str, Any] = self._local.context
        return values

    @context.setter
    def context(self, values: dict[str, Any]) -> None:
        self._local.context = values

    @property
    def processed_stack_frames(self) -> list[str]:
        if not hasattr(self._local, "frames"):
            self._local.frames = []
        frames: list[str] = self._local.frames
        return frames

    @processed_stack_frames.setter
    def processed_stack_frames(self, frames: list[str]) -> None:
        self._local.frames = frames


def caller(api: BaseRouter) -> AgentClaims | OperatorClaims:
    """Whom the authorizer let in, from what it put into the event."""
    context = api.current_event["requestContext"]["authorizer"]["lambda"]
    # Of an authorizer that answers with a policy, the gateway hands on strings alone.
    numbers = {name: int(context[name]) for name in ("exp", "nbf", "iat") if isinstance(context.get(name), str)}
    return CLAIMS.validate_python({**context, **numbers})


def calling_agent(api: BaseRouter) -> str:
    """The id of the agent that calls.

    Raises:
        ProblemError: 403, somebody else was let in.
    """
    claims = caller(api)
    if not isinstance(claims, AgentClaims):
        raise ProblemError(HTTPStatus.FORBIDDEN, "only an agent may do this")
    return claims.sub


def calling_operator(api: BaseRouter) -> OperatorClaims:
    """The operator that calls.

    Raises:
        ProblemError: 403, somebody else was let in.
    """
    claims = caller(api)
    if not isinstance(claims, OperatorClaims):
        raise ProblemError(HTTPStatus.FORBIDDEN, "only an operator may do this")
    return claims


def source_address(api: BaseRouter) -> str:
    """The address that a request came from, as the gateway saw it."""
    return str(api.current_event["requestContext"]["http"]["sourceIp"])


def answers(
    model: type[BaseModel] | None, *problems: HTTPStatus, status: HTTPStatus = HTTPStatus.OK
) -> dict[int, OpenAPIResponse]:
    """What a route can answer, for its part of the OpenAPI document: the model, or nothing, or problem details."""
    declared: dict[int, OpenAPIResponse] = {int(status): {"description": status.phrase}}
    if model is not None:
        declared[int(status)] = {
            "description": (model.__doc__ or status.phrase).strip(),
            "content": {content_types.APPLICATION_JSON: {"model": model}},
        }
    for each in problems:
        declared[int(each)] = {"description": each.phrase, "content": {PROBLEM: {"model": Problem}}}
    return declared


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Response[str]:
    """Problem details: `type` is left out (about:blank), `title` is the status's phrase."""
    body = problem_text(status, detail)
    return Response(status_code=int(status), content_type=PROBLEM, headers=dict(headers or {}), body=body)


def problem_text(status: HTTPStatus, detail: str) -> str:
    """The body of problem details."""
    return json.dumps({"status": int(status), "title": status.phrase, "detail": detail})


def _safe(headers: Mapping[str, str]) -> dict[str, str]:
    # API Gateway says how it was called, and so does a proxy that speaks TLS for the standalone server.
    over_tls = headers.get("x-forwarded-proto", "").lower() == "https"
    return {**SAFE_HEADERS, **(STRICT_TRANSPORT if over_tls else {})}


def _answer_problem(error: ProblemError) -> Response[str]:
    return problem(error.status, error.detail, error.headers)


def _answer_unavailable(error: StoreUnavailableError) -> Response[str]:
    logger.warning(str(error))
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the store is not available", {"Retry-After": "10"})


def _answer_invalid(error: RequestValidationError) -> Response[str]:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{place}: {first['msg']}")


def _answer_not_found(_: NotFoundError) -> Response[str]:
    return problem(HTTPStatus.NOT_FOUND, "there is no such route")


def _answer_failure(error: Exception) -> Response[str]:
    logger.exception("an unexpected error", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error; the log of the function has it")
