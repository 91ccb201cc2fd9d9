"""The routes by which operators save documents, look at them, compare them and take them back."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Header, Path, Query

from contracts import overlay
from contracts.configuration import (
    Checked,
    Diff,
    DocumentAsked,
    DocumentVersion,
    DocumentVersions,
    Fault,
    RollbackAsked,
)
from contracts.limits import BIGINT_MAX
from functions.audit import record
from functions.config import documents
from functions.config.parts import Cursor, Limit, store
from functions.config.preconditions import Precondition, RefusedError, etag
from functions.http import answers, calling_operator, problem, source_address
from functions.pages import DEFAULT_ITEMS, CursorError
from functions.store import Connection

router = Router()  # type: ignore[no-untyped-call]

Scope = Annotated[overlay.Scope, Path(description="`fleet`, `group:NAME` or `agent:ID`.")]
Number = Annotated[int, Path(ge=1, le=BIGINT_MAX, description="Number of a version in its scope.")]
From = Annotated[
    int | None,
    Query(
        alias="from",
        ge=0,
        le=BIGINT_MAX,
        description="The older side, 0 for nothing; the live version, or the one before it where that is `to`.",
    ),
]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The scope's entity tag, as it was when the caller looked.")
]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="`*`: the scope has no version yet.")]
To = Annotated[int | None, Query(ge=1, le=BIGINT_MAX, description="The newer side; the newest version.")]

_TAGS = ["documents"]
_READ = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_LIST = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_CHANGE = (
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.PRECONDITION_REQUIRED,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def _answer_refused(error: RefusedError) -> Response[str]:
    return problem(error.status, str(error))


def _answer_faults(error: overlay.OverlayError) -> Response[str]:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def _answer_cursor(error: CursorError) -> Response[str]:
    return problem(HTTPStatus.BAD_REQUEST, str(error))


router.exception_handler(RefusedError)(_answer_refused)
router.exception_handler(overlay.OverlayError)(_answer_faults)
router.exception_handler(CursorError)(_answer_cursor)


@router.get(
    "/v1/documents",
    summary="Scopes and what stands in them",
    description="Of every scope the newest version, and the live one where that is another.",
    tags=_TAGS,
    responses=answers(DocumentVersions, *_LIST),
)
def get_documents(limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> DocumentVersions:
    with store().transaction() as connection:
        return documents.scopes(connection, limit, cursor)


@router.post(
    "/v1/documents/validate",
    summary="Whether a document could be saved",
    description="Says everything that is wrong with it, and saves nothing.",
    tags=_TAGS,
    responses=answers(Checked, HTTPStatus.UNPROCESSABLE_ENTITY),
)
def post_validate(asked: DocumentAsked) -> Checked:
    faults = [Fault(key=each.key, message=each.message) for each in documents.look(asked.document)]
    return Checked(ok=not faults, faults=faults)


@router.get(
    "/v1/documents/<scope>",
    summary="The newest version of a scope",
    description="`live` says whether agents get it. The ETag is what saving and rolling back take as If-Match.",
    tags=_TAGS,
    responses=answers(DocumentVersion, *_READ),
)
def get_document(scope: Scope) -> Response[Any]:
    with store().transaction() as connection:
        return _tagged(documents.newest(connection, scope))


@router.put(
    "/v1/documents/<scope>",
    summary="Save a document",
    description=(
        "A new version, live at once; with `activate` false it waits for a release. A group's selector stays as it is "
        "unless one is said. A scope that has a version needs If-Match."
    ),
    tags=_TAGS,
    responses=answers(DocumentVersion, *_CHANGE),
)
def put_document(
    scope: Scope, asked: DocumentAsked, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Response[Any]:
    author = calling_operator(router).sub
    with store().transaction() as connection:
        saved = documents.save(connection, scope, asked, Precondition(if_match, if_none_match), author)
        _record(connection, "document.save", saved, {})
    return _tagged(saved)


@router.get(
    "/v1/documents/<scope>/versions",
    summary="The versions of a scope, the newest first",
    tags=_TAGS,
    responses=answers(DocumentVersions, HTTPStatus.BAD_REQUEST, *_READ),
)
def get_versions(scope: Scope, limit: Limit = DEFAULT_ITEMS, cursor: Cursor = None) -> DocumentVersions:
    with store().transaction() as connection:
        return documents.versions(connection, scope, limit, cursor)


@router.get(
    "/v1/documents/<scope>/versions/<version>",
    summary="One version of a scope",
    tags=_TAGS,
    responses=answers(DocumentVersion, *_READ),
)
def get_version(scope: Scope, version: Number) -> DocumentVersion:
    with store().transaction() as connection:
        return documents.version(connection, scope, version)


@router.get(
    "/v1/documents/<scope>/diff",
    summary="What differs between two versions of a scope",
    description="Key by key; a group's selector and priority are keys below `group`.",
    tags=_TAGS,
    responses=answers(Diff, *_READ),
)
def get_diff(scope: Scope, from_: From = None, to: To = None) -> Diff:
    with store().transaction() as connection:
        return documents.diff(connection, scope, from_, to)


@router.post(
    "/v1/documents/<scope>/rollback",
    summary="Have an earlier version again",
    description="Its content and selector become the newest version, live at once. It needs If-Match.",
    tags=_TAGS,
    responses=answers(DocumentVersion, HTTPStatus.NOT_FOUND, *_CHANGE),
)
def post_rollback(scope: Scope, asked: RollbackAsked, if_match: IfMatch = None) -> Response[Any]:
    author = calling_operator(router).sub
    with store().transaction() as connection:
        saved = documents.roll_back(connection, scope, asked, Precondition(if_match), author)
        _record(connection, "document.rollback", saved, {"of": asked.version})
    return _tagged(saved)


def _record(connection: Connection, action: str, saved: DocumentVersion, more: Mapping[str, object]) -> None:
    said = {"version": saved.version, "sha256": saved.sha256, "activated": saved.activated_at is not None, **more}
    record(
        connection,
        actor_kind="operator",
        actor=saved.author,
        address=source_address(router),
        action=action,
        subject=saved.scope,
        detail=said,
    )


def _tagged(saved: DocumentVersion) -> Response[Any]:
    return Response(
        status_code=HTTPStatus.OK,
        content_type=content_types.APPLICATION_JSON,
        headers={"ETag": etag(saved)},
        body=saved.model_dump_json(),
    )
