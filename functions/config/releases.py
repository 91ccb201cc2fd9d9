"""Releases as operators begin, hold and end them; what moves them on is `advance`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from contracts.configuration import Release, ReleaseAsked
from functions.config.effective import lock, of_scope
from functions.config.preconditions import RefusedError
from functions.config.shown import UnknownError, release
from functions.store import Connection

# A draft that is older than what is live was overtaken.
_NEWEST_DRAFT: LiteralString = """
    select max(version) from store.document where scope = %s and version > %s and activated_at is null
"""

_START: LiteralString = """
    insert into store.release
        (scope, from_version, to_version, stages, stage_since_at, bake_seconds, gates, state, created_by, created_at,
         comment)
    values (%s, %s, %s, %s, %s, %s, %s, 'running', %s, %s, %s)
    returning id
"""


class ConflictError(RefusedError):
    """It cannot be done as things stand; the message says what is in the way."""

    status = HTTPStatus.CONFLICT


class UnfitError(RefusedError):
    """The stages that are asked for do not end with everybody."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


def start(connection: Connection, asked: ReleaseAsked, actor: str, now: datetime) -> Release:
    """Begin a release of a saved version over its scope; in a scope one at most is on its way.

    Raises:
        UnknownError: there is no such version.
        ConflictError: another release is on its way, or the version is live, or older than what is.
        UnfitError: the last stage does not have all agents.
    """
    if asked.stages[-1] != "100%":
        raise UnfitError(
            f"stages: in the end everybody is given the version, so the last is 100%, not {asked.stages[-1]}"
        )
    lock(connection, asked.scope)
    standing = of_scope(connection, asked.scope)
    if standing.release:
        raise ConflictError(_in_the_way(connection, standing.release.id))
    live = standing.live.version if standing.live else 0
    version = _version(connection, asked, live)
    row = connection.execute(
        _START,
        (
            asked.scope,
            live,
            version,
            list(asked.stages),
            now,
            asked.bake_seconds,
            Jsonb(asked.gates.model_dump()),
            actor,
            now,
            asked.comment,
        ),
    ).fetchone()
    assert row is not None  # it returns what it inserts
    tell(connection, row[0], "started", 0, actor, now, {"stage": asked.stages[0], "from": live, "to": version})
    return release(connection, row[0])


def _version(connection: Connection, asked: ReleaseAsked, live: int) -> int:
    if asked.version is None:
        row = connection.execute(_NEWEST_DRAFT, (asked.scope, live)).fetchone()
        if row is None or row[0] is None:
            raise ConflictError(
                f"version: {asked.scope} has none that waits for a release; save one with activate = false"
            )
        return int(row[0])
    found = connection.execute(
        "select from store.document where scope = %s and version = %s", (asked.scope, asked.version)
    ).fetchone()
    if found is None:
        raise UnknownError(f"version: {asked.scope} has no version {asked.version}")
    if asked.version <= live:
        state = "is live" if asked.version == live else f"is older than {live}, which is live; roll back to it instead"
        raise ConflictError(f"version: {asked.version} of {asked.scope} {state}")
    return asked.version


def _in_the_way(connection: Connection, id: int) -> str:
    row = connection.execute(
        "select scope, to_version, state, created_by, created_at from store.release where id = %s", (id,)
    ).fetchone()
    assert row is not None  # it is of the scope that is locked
    scope, version, state, actor, at = row
    return (
        f"release {id} of {scope} version {version}, begun by {actor} at {at:%Y-%m-%d %H:%M} UTC, is {state}: "
        "wait for its end, or abort it"
    )


def pause(connection: Connection, id: int, actor: str, now: datetime) -> Release:
    """Hold a release in its stage: no other begins, and whoever the stage has keeps the version.

    Raises:
        UnknownError: there is no such release.
        ConflictError: it is not running.
    """
    stage = _hold(connection, id, ("running",), "paused")
    connection.execute("update store.release set state = 'paused' where id = %s", (id,))
    tell(connection, id, "paused", stage, actor, now)
    return release(connection, id)


def resume(connection: Connection, id: int, actor: str, now: datetime) -> Release:
    """Go on with a release that was paused; its stage bakes anew, for nobody watched it meanwhile.

    Raises:
        UnknownError: there is no such release.
        ConflictError: it is not paused.
    """
    stage = _hold(connection, id, ("paused",), "resumed")
    connection.execute("update store.release set state = 'running', stage_since_at = %s where id = %s", (now, id))
    tell(connection, id, "resumed", stage, actor, now)
    return release(connection, id)


def abort(connection: Connection, id: int, actor: str, now: datetime) -> Release:
    """End a release: everybody is given the version that was live again.

    Raises:
        UnknownError: there is no such release.
        ConflictError: it has ended.
    """
    stage = _hold(connection, id, ("running", "paused"), "aborted")
    end(connection, id, "aborted", now, f"aborted by {actor}")
    tell(connection, id, "aborted", stage, actor, now)
    return release(connection, id)


def _hold(connection: Connection, id: int, states: Sequence[str], done: str) -> int:
    """Keep others from a release until the transaction ends; the answer is its stage."""
    # No key: agents that are given the version, and looks, hold the release's key.
    row = connection.execute("select state, stage from store.release where id = %s for no key update", (id,)).fetchone()
    if row is None:
        raise UnknownError(f"there is no release {id}")
    state, stage = row
    if state not in states:
        raise ConflictError(f"release {id} is {state}; only one that is {' or '.join(states)} can be {done}")
    return int(stage)


def end(connection: Connection, id: int, state: str, now: datetime, reason: str | None = None) -> None:
    """End a release, in the caller's transaction."""
    connection.execute(
        "update store.release set (state, reason, ended_at) = (%s, %s, %s) where id = %s", (state, reason, now, id)
    )


def tell(
    connection: Connection,
    id: int,
    event: str,
    stage: int,
    actor: str,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write what happened to a release, in the caller's transaction."""
    connection.execute(
        "insert into store.release_event (release_id, at, event, stage, actor, detail) values (%s, %s, %s, %s, %s, %s)",
        (id, now, event, stage, actor, Jsonb(dict(detail or {}))),
    )
