"""The routes by which operators log in, admins make accounts, and admins read what was done."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse
from pydantic import BeforeValidator

from contracts.identity import (
    Audit,
    LoginAsked,
    OwnPasswordAsked,
    PasswordAsked,
    RefreshAsked,
    SessionGranted,
    User,
    UserAsked,
    UserChanged,
    Users,
)
from contracts.names import UserName
from functions.authorizer import audit_pages, logins, operators, sessions
from functions.authorizer.audit_pages import Filter
from functions.authorizer.operators import Actor
from functions.authorizer.parts import keys, store
from functions.authorizer.passwords import BusyError, passwords
from functions.http import ProblemError, answers, calling_operator, problem, source_address
from functions.instants import Instant
from functions.pages import DEFAULT_ITEMS, MAX_CURSOR, MAX_ITEMS

Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Items of a page.")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")]
#: API Gateway decodes a path, the standalone server does not; no name has a percent sign.
Name = Annotated[UserName, BeforeValidator(unquote), Path(description="Name of a user.")]
Action = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$", description="Only of this action.")]
ActorName = Annotated[str | None, Query(max_length=300, pattern=r"^[^\x00]*$", description="Only by this actor.")]
From = Annotated[Instant | None, Query(alias="from", description="From this instant.")]
Until = Annotated[Instant | None, Query(description="Before this instant.")]


#: What a login, or another that a password is examined for, can end with.
_EXAMINED = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_CHANGED = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_LISTED = (HTTPStatus.BAD_REQUEST, *_CHANGED)

router = Router()  # type: ignore[no-untyped-call]


def _answers_nothing(description: str, *problems: HTTPStatus) -> dict[int, OpenAPIResponse]:
    declared = answers(User, *problems)
    return {204: {"description": description, "content": {}}, **{each: declared[each] for each in problems}}


def _now() -> datetime:
    return datetime.now(UTC)


def _actor() -> Actor:
    return Actor("operator", calling_operator(router).sub, source_address(router))


@router.post(
    "/v1/auth/login",
    summary="Log in",
    description="401 whatever is wrong: the name, the password, or that the account is disabled. 429 after failures "
    "of this account from this address, or of many from this address; Retry-After has the seconds to wait.",
    tags=["operators"],
    responses=answers(SessionGranted, HTTPStatus.UNAUTHORIZED, *_EXAMINED),
)
def post_login(asked: LoginAsked) -> SessionGranted:
    return logins.login(store(), passwords(), keys(), asked, source_address(router), _now())


@router.post(
    "/v1/auth/refresh",
    summary="Go on with a session",
    description="The refresh token is good once; the answer has the next. One that comes twice ends its session.",
    tags=["operators"],
    responses=answers(SessionGranted, HTTPStatus.UNAUTHORIZED, *_CHANGED),
)
def post_refresh(asked: RefreshAsked) -> SessionGranted:
    return sessions.refresh(store(), keys(), asked.refresh_token, source_address(router), _now())


@router.post(
    "/v1/auth/logout",
    summary="End a session",
    description="Its refresh token is good no more; its access token is until it expires. 204 for any token.",
    tags=["operators"],
    status_code=HTTPStatus.NO_CONTENT,
    responses=_answers_nothing("The session has ended.", *_CHANGED),
)
def post_logout(asked: RefreshAsked) -> Response[Any]:
    sessions.logout(store(), asked.refresh_token, source_address(router), _now())
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.put(
    "/v1/auth/password",
    summary="Another password of one's own",
    description="All sessions of the caller end. 403 where the old password is wrong, and 429 as at a login.",
    tags=["operators"],
    status_code=HTTPStatus.NO_CONTENT,
    responses=_answers_nothing("The password is changed.", HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, *_EXAMINED),
)
def put_own_password(asked: OwnPasswordAsked) -> Response[Any]:
    operators.change_own_password(store(), passwords(), asked, _actor(), _now())
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get("/v1/users", summary="Operators by name", tags=["operators"], responses=answers(Users, *_LISTED))
def get_users(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> Users:
    return operators.users(store(), limit, cursor)


@router.post(
    "/v1/users",
    summary="Make an operator",
    tags=["operators"],
    status_code=HTTPStatus.CREATED,
    responses=answers(User, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, *_CHANGED, status=HTTPStatus.CREATED),
)
def post_user(asked: UserAsked) -> Response[User]:
    made = operators.create(store(), passwords(), asked, _actor(), _now())
    return Response(status_code=HTTPStatus.CREATED, content_type=content_types.APPLICATION_JSON, body=made)


@router.patch(
    "/v1/users/<name>",
    summary="Change an operator's role, disable or enable one",
    description="All sessions of theirs end with a role that changes, and with disabling. 409 for the last admin.",
    tags=["operators"],
    responses=answers(User, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *_CHANGED),
)
def patch_user(name: Name, asked: UserChanged) -> User:
    if asked.role is None and asked.disabled is None:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "body: give role or disabled, or both")
    return operators.change(store(), name, asked, _actor(), _now())


@router.put(
    "/v1/users/<name>/password",
    summary="Give an operator another password",
    description="All sessions of theirs end.",
    tags=["operators"],
    status_code=HTTPStatus.NO_CONTENT,
    responses=_answers_nothing("The password is changed.", HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, *_CHANGED),
)
def put_password(name: Name, asked: PasswordAsked) -> Response[Any]:
    operators.set_password(store(), passwords(), name, asked, _actor(), _now())
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/v1/audit",
    summary="What was done, and refused, the newest first",
    tags=["operators"],
    responses=answers(Audit, *_LISTED),
)
def get_audit(
    action: Action = None,
    actor: ActorName = None,
    from_: From = None,
    until: Until = None,
    limit: Limit = DEFAULT_ITEMS,
    cursor: Cursor = None,
) -> Audit:
    return audit_pages.entries(store(), Filter(action, actor, from_, until), limit, cursor)


def _answer_unproven(error: Exception) -> Response[str]:
    return problem(HTTPStatus.UNAUTHORIZED, str(error), {"WWW-Authenticate": "Bearer"})


def _answer_slowed(error: logins.SlowedError) -> Response[str]:
    return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), {"Retry-After": str(error.seconds)})


def _answer_busy(error: BusyError) -> Response[str]:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})


def _answer_refused(error: operators.OperatorRefusedError) -> Response[str]:
    return problem(error.status, str(error))


router.exception_handler(logins.LoginRefusedError)(_answer_unproven)
router.exception_handler(sessions.SessionEndedError)(_answer_unproven)
router.exception_handler(logins.SlowedError)(_answer_slowed)
router.exception_handler(BusyError)(_answer_busy)
router.exception_handler(operators.OperatorRefusedError)(_answer_refused)
