"""Releases as operators are shown them: what each is, whom it concerns, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, LiteralString

from psycopg.rows import DictRow, dict_row

from contracts.configuration import Release, ReleaseEvent, Releases
from contracts.limits import BIGINT_MAX
from contracts.overlay import GROUP
from functions.config.agents import everyone
from functions.config.effective import Agent, Saved
from functions.config.preconditions import RefusedError
from functions.pages import Bigint, decode, encode
from functions.store import Connection

_RELEASE: LiteralString = """
    select r.id, r.scope, r.from_version, r.to_version, r.stages, r.stage, r.stage_since_at, r.bake_seconds, r.gates,
        r.state, r.reason, r.created_by, r.created_at, r.ended_at, r.comment,
        (select count(*) from store.release_agent a where a.release_id = r.id) as touched,
        t.selector as to_selector, f.selector as from_selector
    from store.release r
    join store.document t on t.scope = r.scope and t.version = r.to_version
    left join store.document f on f.scope = r.scope and f.version = r.from_version
"""

_PAGE: LiteralString = _RELEASE + "where r.id < %(before)s order by r.id desc limit %(limit)s"
_ONE: LiteralString = _RELEASE + "where r.id = %(id)s"

_EVENTS: LiteralString = """
    select at, event, stage, actor, detail from store.release_event where release_id = %(id)s order by at, stage
"""


class UnknownError(RefusedError):
    """There is no such release or version."""

    status = HTTPStatus.NOT_FOUND


def release(connection: Connection, id: int) -> Release:
    """One release with its events.

    Raises:
        UnknownError: there is no such release.
    """
    rows = _rows(connection, _ONE, {"id": id})
    if not rows:
        raise UnknownError(f"there is no release {id}")
    (found,) = _releases(connection, rows)
    return found.model_copy(update={"events": [ReleaseEvent(**row) for row in _rows(connection, _EVENTS, {"id": id})]})


def page(connection: Connection, limit: int, cursor: str | None) -> Releases:
    """One page of releases, the newest first, without their events.

    Raises:
        CursorError: the cursor is not of this route.
    """
    before = decode(cursor, Bigint)[0] if cursor else BIGINT_MAX
    rows = _rows(connection, _PAGE, {"before": before, "limit": limit + 1})
    items = _releases(connection, rows[:limit])
    return Releases(items=items, next=encode((rows[limit - 1]["id"],)) if len(rows) > limit else None)


def _releases(connection: Connection, rows: Sequence[DictRow]) -> list[Release]:
    agents = everyone(connection) if rows else []
    return [Release(**row, agents=_count(row, agents)) for row in rows]


def _count(row: DictRow, agents: Sequence[Agent]) -> int:
    """How many agents the scope has now: a group those of either version, for a release may change whom it has."""
    scope, selectors = row["scope"], (row["to_selector"], row["from_selector"])
    versions = [Saved(scope, 0, 0, "", each) for each in selectors if each is not None or not scope.startswith(GROUP)]
    return sum(any(version.has(agent) for version in versions) for agent in agents)


def _rows(connection: Connection, statement: LiteralString, parameters: Mapping[str, Any]) -> list[DictRow]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters).fetchall()
