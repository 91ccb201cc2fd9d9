"""What the server has in a scope, as the commands of `pganalytics config` and `release` ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from cli.api import Api, ApiError
from cli.ending import CONFLICT, MEND, fail
from cli.instants import utc
from contracts.configuration import DocumentVersion
from contracts.overlay import FLEET, Scope

ScopeOption = Annotated[str, typer.Option("--scope", metavar="SCOPE", help="fleet, group:NAME or agent:ID.")]

_SCOPE = TypeAdapter[str](Scope)
_CONFLICTS = {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED}

Model = TypeVar("Model", bound=BaseModel)


def path(scope: str, *more: object) -> str:
    """The path of a scope's documents. Ends the command if it is no scope."""
    try:
        _SCOPE.validate_python(scope)
    except ValidationError:
        fail(
            f"--scope {scope}: {FLEET}, group:NAME or agent:ID is expected; a name is lower case letters, digits, . _ -"
        )
    return "/".join(("/v1/documents", quote(scope, safe=":"), *map(str, more)))


def newest(api: Api, scope: str) -> DocumentVersion | None:
    """The newest version of a scope, live or not; None if there is none.

    Raises:
        ApiError: the server cannot be reached, or refused.
    """
    try:
        return parsed(DocumentVersion, api.item(path(scope)))
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def live(api: Api, newest: DocumentVersion | None) -> DocumentVersion | None:
    """The version that agents get, of the scope whose newest version this is; None if they get none of it.

    Raises:
        ApiError: the server cannot be reached, or refused.
    """
    if newest is None or newest.live:
        return newest
    versions = (parsed(DocumentVersion, item) for item in api.items(path(newest.scope, "versions")))
    return next((version for version in versions if version.live), None)


def seen(newest: DocumentVersion | None) -> dict[str, str]:
    """The headers of a change by somebody who has seen this as the newest version: nobody's later one is undone."""
    return {"If-None-Match": "*"} if newest is None else {"If-Match": f'"{newest.version}"'}


@contextmanager
def changing(api: Api, scope: str) -> Iterator[None]:
    """End the command where the scope is another than was seen, or a release is on its way there; or with the faults.

    Raises:
        ApiError: what else went wrong.
    """
    try:
        yield
    except ApiError as error:
        if error.status == HTTPStatus.PRECONDITION_FAILED and (now := newest(api, scope)) is not None:
            found = f"version {now.version} of {now.author}, {utc(now.created_at)}"
            mend = f"see `pganalytics config diff --scope {scope}`, and do it again"
            fail(f"{scope} was changed meanwhile, nothing is saved: there is {found}; {mend}", CONFLICT)
        ending(error)


def ending(error: ApiError) -> None:
    """End the command where what is asked for cannot be as things stand, or says something wrong.

    Raises:
        ApiError: this one, where it is neither.
    """
    if error.status in _CONFLICTS:
        fail(str(error), CONFLICT)
    if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        fail(str(error), MEND)
    raise error


def parsed(model: type[Model], answer: Mapping[str, Any]) -> Model:
    """What the server answered.

    Raises:
        ApiError: it is something else than that.
    """
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise ApiError(f"the server answered no {model.__name__}; is it of another version?") from error
