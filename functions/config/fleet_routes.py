"""The routes that say what agents are to obey and whether they do, and that give them labels."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Query

from contracts.configuration import Explained, FleetConfiguration, LabelsAsked
from functions.audit import record
from functions.config import fleet
from functions.config.parts import Agent, Cursor, Limit, store
from functions.http import ProblemError, answers, calling_operator, source_address
from functions.pages import DEFAULT_ITEMS

router = Router()  # type: ignore[no-untyped-call]

State = Annotated[fleet.State | None, Query(description="Only agents in this state; the counts are of all.")]

_TAGS = ["configuration"]
_ONE = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


@router.get(
    "/v1/configuration",
    summary="Which agents obey what they are to obey",
    tags=_TAGS,
    responses=answers(
        FleetConfiguration,
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def get_configuration(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None, state: State = None) -> FleetConfiguration:
    with store().transaction() as connection:
        return fleet.fleet(connection, datetime.now(UTC), limit, cursor, state)


@router.get(
    "/v1/agents/<id>/configuration",
    summary="What an agent is to obey, and which scope each key is from",
    description="Keys without an origin have their built-in defaults.",
    tags=_TAGS,
    responses=answers(Explained, *_ONE),
)
def get_explained(id: Agent) -> Explained:
    with store().transaction() as connection:
        return _there(id, fleet.explain(connection, id))


@router.put(
    "/v1/agents/<id>/labels",
    summary="Give an agent labels",
    description="In the place of all that it had, those of its enrolment included. The answer is what it now obeys.",
    tags=_TAGS,
    responses=answers(Explained, *_ONE),
)
def put_labels(id: Agent, asked: LabelsAsked) -> Explained:
    author = calling_operator(router).sub
    with store().transaction() as connection:
        labelled = _there(id, fleet.label(connection, id, asked.labels))
        record(
            connection,
            actor_kind="operator",
            actor=author,
            address=source_address(router),
            action="agent.label",
            subject=id,
            detail={"labels": asked.labels},
        )
    return labelled


def _there(id: str, found: Explained | None) -> Explained:
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no agent {id}")
    return found
