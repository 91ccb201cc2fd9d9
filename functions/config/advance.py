"""Moves releases on: measures their gates, halts what fails, and begins the next stage of what has baked.

All that a look knows is in the store, and it looks at each release in one transaction, alone: two at once, or a restart
in between, change nothing. An operator who holds or ends a release waits for no look, and a look that was overtaken
does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import dict_row

from contracts.configuration import Gates, reached
from functions.config import failures
from functions.config.agents import everyone
from functions.config.effective import lock, of_scope
from functions.config.gates import Figures, failed
from functions.config.measured import measure, unheard
from functions.config.releases import end, tell
from functions.store import Connection, Store, StoreUnavailableError

#: Who does what nobody asked for, in the events.
SCHEDULE = "schedule"

#: Looks further apart than this have an outage between them.
_PAUSE = timedelta(minutes=3)

_RUNNING: LiteralString = "select id from store.release where state = 'running' order by id"

_ALONE: LiteralString = "select pg_try_advisory_xact_lock(hashtextextended('store.release:' || %s::bigint, 0))"

_ONE: LiteralString = """
    select id, scope, to_version, stages, stage, stage_since_at, bake_seconds, gates, looked_at, watched_since_at
    from store.release where id = %s and state = 'running'
"""

# Measuring takes no lock that an operator would wait for. From here on to the end nobody comes in between.
_UNCHANGED: LiteralString = """
    select from store.release where id = %s and state = 'running' and stage_since_at = %s for no key update
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look did to a release: `outcome` is the state it is in now, `stage` counts from 0."""

    id: int
    outcome: str
    stage: int


@dataclass(slots=True)
class _Running:
    id: int
    scope: str
    to_version: int
    stages: list[str]
    stage: int
    stage_since_at: datetime
    bake_seconds: int
    gates: Gates
    looked_at: datetime | None
    watched_since_at: datetime | None

    def has_baked(self, figures: Figures, now: datetime) -> bool:
        """Whether those who came with the stage have lived with the version for its time, and nobody's word is awaited.

        A few that come late do not hold it up: of many hosts there is always one that was switched on just now.
        """
        since = max(self.stage_since_at, figures.settled_at or self.stage_since_at)
        baked = now >= since + timedelta(seconds=self.bake_seconds)
        return baked and not figures.waiting.count and figures.missing is not None


def advance(store: Store, now: datetime) -> list[Looked]:
    """Look at every running release once, and answer those that nobody else was looking at.

    Raises:
        StoreUnavailableError: of one or more, after all were tried: try again later; what was done stays.
    """
    with store.transaction() as connection:
        running = [row[0] for row in connection.execute(_RUNNING)]
    looked: list[Looked] = []
    unavailable: StoreUnavailableError | None = None
    for number in running:
        try:
            with store.transaction() as connection:
                found = _alone(connection, number)
                outcome = _look(connection, found, now) if found else None
        except StoreUnavailableError as error:
            unavailable = error
        else:
            if found and outcome:
                looked.append(Looked(number, outcome, found.stage))
    if unavailable:
        raise unavailable
    return looked


def _alone(connection: Connection, id: int) -> _Running | None:
    """The release, if it is still running and nobody else looks at it."""
    free = connection.execute(_ALONE, (id,)).fetchone()
    if free != (True,):
        return None
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_ONE, (id,)).fetchone()
    return _Running(**{**row, "gates": Gates.model_validate(row["gates"])}) if row else None


def _look(connection: Connection, release: _Running, now: datetime) -> str | None:
    """The state that the release is in now; None, and nothing done, if an operator was faster."""
    firsts = _first_stages(connection, release)
    members = [agent_id for agent_id, first in firsts if first <= release.stage]
    watched_since = _watched_since(connection, release, now)
    read_until = failures.note(connection, release.id)
    figures = measure(connection, release.id, release.gates, release.stage, members, now, watched_since)
    if connection.execute(_UNCHANGED, (release.id, release.stage_since_at)).fetchone() is None:
        return None
    _keep(connection, release, figures, now, watched_since, read_until)
    failure = failed(release.gates, figures)
    if failure:
        end(connection, release.id, "halted", now, failure.reason)
        tell(connection, release.id, "halted", release.stage, SCHEDULE, now, failure.detail)
        return "halted"
    new = {first for _, first in firsts}
    if release.stage in new:
        if not release.has_baked(figures, now):
            return "running"
        if not _next(connection, release, now, {}):
            return "done"
    # What adds nobody has nothing to bake.
    while release.stage not in new:
        if not _next(connection, release, now, {"why": f"{release.stages[release.stage]} adds no agent"}):
            return "done"
    return "running"


def _first_stages(connection: Connection, release: _Running) -> Sequence[tuple[str, int]]:
    """The agents of the scope, each with the first stage that has it."""
    standing, stages = of_scope(connection, release.scope), release.stages
    found = (
        (agent.agent_id, reached(stages, len(stages), agent.agent_id, agent.labels))
        for agent in everyone(connection)
        if standing.has(agent)
    )
    return [(agent_id, first) for agent_id, first in found if first is not None]


def _watched_since(connection: Connection, release: _Running, now: datetime) -> datetime | None:
    """Since when looks follow one another and agents are heard; None: since the release began."""
    outage = now - (release.looked_at or release.stage_since_at) > _PAUSE
    return now if outage or unheard(connection, release.id, now) else release.watched_since_at


def _keep(
    connection: Connection,
    release: _Running,
    figures: Figures,
    now: datetime,
    watched_since: datetime | None,
    read_until: datetime,
) -> None:
    connection.execute(
        "update store.release set (looked_at, watched_since_at, read_until_at) = (%s, %s, %s) where id = %s",
        (now, watched_since, read_until, release.id),
    )
    # Of each stage the last figures are kept.
    connection.execute(
        "delete from store.release_event where release_id = %s and event = 'measured' and stage = %s",
        (release.id, release.stage),
    )
    tell(connection, release.id, "measured", release.stage, SCHEDULE, now, figures.told(release.gates))


def _next(connection: Connection, release: _Running, now: datetime, detail: dict[str, Any]) -> bool:
    """Begin the next stage; where there is none, everybody is given the version for good, and the answer is no."""
    if release.stage + 1 == len(release.stages):
        lock(connection, release.scope)
        connection.execute(
            "update store.document set activated_at = %s where scope = %s and version = %s",
            (now, release.scope, release.to_version),
        )
        end(connection, release.id, "done", now)
        tell(connection, release.id, "done", release.stage, SCHEDULE, now, detail)
        return False
    release.stage += 1
    connection.execute(
        "update store.release set (stage, stage_since_at) = (%s, %s) where id = %s", (release.stage, now, release.id)
    )
    tell(
        connection, release.id, "stage", release.stage, SCHEDULE, now, {"stage": release.stages[release.stage]} | detail
    )
    return True
