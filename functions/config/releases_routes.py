"""The routes by which operators begin releases, watch them and stop them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path

from contracts.configuration import Release, ReleaseAsked, Releases
from contracts.limits import BIGINT_MAX
from functions.audit import record
from functions.config import releases, shown
from functions.config.parts import Cursor, Limit, store
from functions.http import answers, calling_operator, source_address
from functions.pages import DEFAULT_ITEMS
from functions.store import Connection

router = Router()  # type: ignore[no-untyped-call]

Number = Annotated[int, Path(ge=1, le=BIGINT_MAX, description="Number of a release.")]

_TAGS = ["releases"]
_ONE = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_LIST = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_CHANGE = (HTTPStatus.CONFLICT, *_ONE)


@router.get("/v1/releases", summary="Releases, the newest first", tags=_TAGS, responses=answers(Releases, *_LIST))
def get_releases(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> Releases:
    with store().transaction() as connection:
        return shown.page(connection, limit, cursor)


@router.post(
    "/v1/releases",
    summary="Begin a release",
    description=(
        "Gives a saved version to the agents of its scope stage by stage; the last stage is `100%`. In a scope one "
        "release at most is on its way."
    ),
    tags=_TAGS,
    responses=answers(Release, *_CHANGE, status=HTTPStatus.CREATED),
)
def post_release(asked: ReleaseAsked) -> Response[Any]:
    actor = calling_operator(router).sub
    with store().transaction() as connection:
        begun = releases.start(connection, asked, actor, datetime.now(UTC))
        _record(connection, "release.start", begun, actor)
    return Response(
        status_code=HTTPStatus.CREATED,
        content_type=content_types.APPLICATION_JSON,
        headers={"Location": f"/v1/releases/{begun.id}"},
        body=begun.model_dump_json(),
    )


@router.get(
    "/v1/releases/<id>",
    summary="One release and what happened to it",
    description="The event `measured` has what the last look at a stage found.",
    tags=_TAGS,
    responses=answers(Release, *_ONE),
)
def get_release(id: Number) -> Release:
    with store().transaction() as connection:
        return shown.release(connection, id)


@router.post(
    "/v1/releases/<id>/pause",
    summary="Hold a release in its stage",
    description="No other stage begins, and its gates are not looked at, until it is resumed.",
    tags=_TAGS,
    responses=answers(Release, *_CHANGE),
)
def post_pause(id: Number) -> Release:
    return _changed("release.pause", id, releases.pause)


@router.post(
    "/v1/releases/<id>/resume",
    summary="Go on with a release that was paused",
    description="Its stage bakes anew.",
    tags=_TAGS,
    responses=answers(Release, *_CHANGE),
)
def post_resume(id: Number) -> Release:
    return _changed("release.resume", id, releases.resume)


@router.post(
    "/v1/releases/<id>/abort",
    summary="End a release and take it back",
    description="Every agent is given the version that was live before.",
    tags=_TAGS,
    responses=answers(Release, *_CHANGE),
)
def post_abort(id: Number) -> Release:
    return _changed("release.abort", id, releases.abort)


def _changed(action: str, id: int, change: Callable[[Connection, int, str, datetime], Release]) -> Release:
    actor = calling_operator(router).sub
    with store().transaction() as connection:
        changed = change(connection, id, actor, datetime.now(UTC))
        _record(connection, action, changed, actor)
    return changed


def _record(connection: Connection, action: str, of: Release, actor: str) -> None:
    record(
        connection,
        actor_kind="operator",
        actor=actor,
        address=source_address(router),
        action=action,
        subject=of.scope,
        detail={"release": of.id, "version": of.to_version, "stage": of.stage},
    )
