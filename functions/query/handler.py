"""What operators read: agents, targets, their metrics; and what anyone may: health, version, this API's description."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from contracts.limits import BIGINT_MAX, OID_MAX
from contracts.metrics import CATALOGUE
from contracts.version import __version__
from functions.environment import read
from functions.http import HttpApi, ProblemError, answers, problem
from functions.instants import Instant
from functions.pages import DEFAULT_ITEMS, MAX_CURSOR, MAX_ITEMS, CursorError
from functions.query import coverage, fleet, readings
from functions.query.answers import Agents, Coverage, Health, Readings, TargetDetail, Targets, Version
from functions.query.asked import AskedError, Values, ask
from functions.store import Store, StoreEnvironment


class QueryEnvironment(StoreEnvironment):
    pass


@functools.cache
def _store() -> Store:
    return read(QueryEnvironment).store("pganalytics query")


Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Items of a page.")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")]
TargetId = Annotated[str, Path(pattern=r"^[0-9]{1,19}$", description="Id of a target, as the list of targets has it.")]
Agent = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9._-]+$", description="Id of an agent.")]
Since = Annotated[Instant | None, Query(alias="from", description="From this instant; a day before `to`.")]
To = Annotated[Instant | None, Query(description="Up to this instant; now. At most 31 days after `from`.")]
EverySeconds = Annotated[int, Query(ge=1, le=86400, description="Time that is expected between two readings.")]
Oid = Annotated[int | None, Query(ge=0, le=OID_MAX, description="Only rows of this oid.")]
From = Annotated[Instant | None, Query(alias="from", description="Rows after this instant; an hour before `until`.")]
Until = Annotated[Instant | None, Query(description="Rows up to this instant; now. At most 7 days after `from`.")]
MetricName = Annotated[str, Query(json_schema_extra={"enum": sorted(CATALOGUE)}, description="Name of the metric.")]

_LIST = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)

api = HttpApi()


def _answer_cursor(error: CursorError) -> Response[str]:
    return problem(HTTPStatus.BAD_REQUEST, str(error))


def _answer_asked(error: AskedError) -> Response[str]:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def _answer_not_ready(error: fleet.StoreNotReadyError) -> Response[str]:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


api.exception_handler(CursorError)(_answer_cursor)
api.exception_handler(AskedError)(_answer_asked)
api.exception_handler(fleet.StoreNotReadyError)(_answer_not_ready)


@api.get("/v1/agents", summary="Agents by id", tags=["operators"], responses=answers(Agents, *_LIST))
def get_agents(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> Agents:
    return fleet.agents(_store(), limit, cursor)


@api.get(
    "/v1/agents/<id>/coverage",
    summary="What an agent's targets are covered for, and why the rest is not",
    description=(
        "A target is covered while two readings of it, of any metric, that follow one another are at most "
        "max(3 x every_seconds, 180) seconds apart. Covered and uncovered stretches together are the time asked for."
    ),
    tags=["operators"],
    responses=answers(Coverage, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
def get_coverage(
    id: Agent, from_: Since = None, to: To = None, every_seconds: EverySeconds = coverage.EVERY_SECONDS
) -> Coverage:
    now = datetime.now(UTC)
    found = coverage.coverage(_store(), id, coverage.ask(from_, to, now), every_seconds, now)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no agent {id}")
    return found


@api.get("/v1/targets", summary="Targets by id", tags=["operators"], responses=answers(Targets, *_LIST))
def get_targets(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> Targets:
    return fleet.targets(_store(), limit, cursor)


@api.get(
    "/v1/targets/<id>",
    summary="One target and the last runs of its collectors",
    tags=["operators"],
    responses=answers(
        TargetDetail, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def get_target(id: TargetId) -> TargetDetail:
    found = fleet.target(_store(), _number(id))
    if found is None:
        raise _no_target(id)
    return found


@api.get(
    "/v1/targets/<id>/metrics",
    summary="Rows of one metric",
    description="Ordered by collected_at, datid and the metric's key. Names come with oids where they are known.",
    tags=["operators"],
    responses=answers(Readings, HTTPStatus.NOT_FOUND, *_LIST),
)
def get_metrics(
    id: TargetId,
    metric: MetricName,
    values: Values = Values.RAW,
    from_: From = None,
    until: Until = None,
    datid: Oid = None,
    relid: Oid = None,
    limit: Limit = DEFAULT_ITEMS,
    cursor: Cursor = None,
) -> Response[Any]:
    asked = ask(_number(id), metric, values, from_, until, datetime.now(UTC), datid, relid)
    if not readings.exists(_store(), asked.target_id):
        raise _no_target(id)
    body = readings.read(_store(), asked, limit, cursor)
    return Response(status_code=HTTPStatus.OK, content_type=content_types.APPLICATION_JSON, body=body)


@api.get(
    "/v1/health",
    summary="Whether the store answers",
    tags=["anyone"],
    responses=answers(Health, HTTPStatus.SERVICE_UNAVAILABLE),
)
def get_health() -> Health:
    return fleet.health(_store())


@api.get("/v1/version", summary="The version of this code", tags=["anyone"], responses=answers(Version))
def get_version() -> Version:
    return Version(version=__version__)


@api.get(
    "/v1/openapi.json",
    summary="This document",
    tags=["anyone"],
    responses={
        200: {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}},
    },
)
def get_openapi() -> Response[Any]:
    return Response(status_code=HTTPStatus.OK, content_type=content_types.APPLICATION_JSON, body=_openapi())


@functools.cache
def _openapi() -> str:
    # Written by infra/openapi.py, which knows the routes of all functions; a test compares the two.
    return files(__package__ or "").joinpath("openapi.json").read_text()


def _number(id: str) -> int:
    number = int(id)
    if number > BIGINT_MAX:
        raise _no_target(id)
    return number


def _no_target(id: str) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, f"there is no target {id}")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
