"""The routes by which operators let agents in, and put them out."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from contracts.identity import EnrolmentAsked, EnrolmentCreated, Enrolments
from contracts.names import NAME_PATTERN
from functions.audit import record
from functions.authorizer import certificates, enrolments
from functions.authorizer.parts import store
from functions.http import ProblemError, answers, calling_operator, source_address
from functions.pages import DEFAULT_ITEMS, MAX_CURSOR, MAX_ITEMS
from functions.store import Connection

AgentName = Annotated[str, Path(pattern=NAME_PATTERN, description="Id of an agent.")]
EnrolmentId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="Id of an enrolment token.")]
Reason = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$", description="Why, for the audit log.")]
Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Items of a page.")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")]

_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)

router = Router()  # type: ignore[no-untyped-call]


@router.delete(
    "/v1/agents/<id>",
    summary="Revoke an agent",
    description="It gets no new token from now on; a token that it has is good for 15 minutes at most.",
    tags=["operators"],
    status_code=204,
    responses=answers(None, *_GONE, status=HTTPStatus.NO_CONTENT),
)
def delete_agent(id: AgentName, reason: Reason = "") -> Response[None]:
    by = calling_operator(router).sub
    with store().transaction() as connection:
        if not certificates.revoke(connection, id, by, reason, datetime.now(UTC)):
            raise ProblemError(HTTPStatus.NOT_FOUND, f"no agent {id} is enrolled")
        _record(connection, by, "agent.revoke", id, reason=reason)
    return Response(HTTPStatus.NO_CONTENT)


@router.get(
    "/v1/enrolments",
    summary="Enrolment tokens, the newest first",
    tags=["operators"],
    responses=answers(
        Enrolments, HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def get_enrolments(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> Enrolments:
    with store().transaction() as connection:
        return enrolments.page(connection, limit, cursor)


@router.post(
    "/v1/enrolments",
    summary="Make an enrolment token",
    description="The answer has the token, this once.",
    tags=["operators"],
    status_code=201,
    responses=answers(
        EnrolmentCreated,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        status=HTTPStatus.CREATED,
    ),
)
def post_enrolment(asked: EnrolmentAsked) -> Response[EnrolmentCreated]:
    by = calling_operator(router).sub
    with store().transaction() as connection:
        made = enrolments.create(connection, asked, by, datetime.now(UTC))
        _record(connection, by, "enrolment.create", made.id, uses=made.uses, agent_id=made.agent_id, labels=made.labels)
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, made)


@router.delete(
    "/v1/enrolments/<id>",
    summary="Revoke an enrolment token",
    description="It enrols nobody from now on; agents that it has enrolled stay.",
    tags=["operators"],
    status_code=204,
    responses=answers(None, *_GONE, status=HTTPStatus.NO_CONTENT),
)
def delete_enrolment(id: EnrolmentId) -> Response[None]:
    by = calling_operator(router).sub
    with store().transaction() as connection:
        if not enrolments.revoke(connection, id, datetime.now(UTC)):
            raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no enrolment token {id}")
        _record(connection, by, "enrolment.revoke", id)
    return Response(HTTPStatus.NO_CONTENT)


def _record(connection: Connection, by: str, action: str, subject: str, **detail: object) -> None:
    address = source_address(router)
    record(connection, actor_kind="operator", actor=by, address=address, action=action, subject=subject, detail=detail)
