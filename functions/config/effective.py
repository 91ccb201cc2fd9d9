"""Which version of each scope an agent is given: the live one, or that of a release which has reached the agent.

Everybody who asks comes here: the agent's own poll, what operators are shown, and the engine of releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import DictRow, dict_row

from contracts.configuration import reached
from contracts.overlay import AGENT, FLEET, GROUP
from functions.store import Connection


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, and the labels that groups and stages go by."""

    agent_id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved version; `body` is its document as the store writes JSON. Only a group's has selector and priority."""

    scope: str
    version: int
    revision: int
    body: str
    selector: Mapping[str, str] | None = None
    priority: int | None = None

    def has(self, agent: Agent) -> bool:
        """Whether it is for this agent."""
        if self.scope.startswith(AGENT):
            return self.scope == AGENT + agent.agent_id
        return self.scope == FLEET or (self.selector or {}).items() <= agent.labels.items()


@dataclass(frozen=True, slots=True)
class Underway:
    """A release that is running or paused: its number, its version, its stages, and which it is in."""

    id: int
    saved: Saved
    stages: tuple[str, ...]
    stage: int


@dataclass(frozen=True, slots=True)
class Given:
    """What an agent is given of a scope. In a release's version, the release, and the first stage that has the agent.

    A release may give a version of a group that is for other agents than the live one: `saved` None takes the group
    away from this one.
    """

    saved: Saved | None
    release_id: int | None = None
    stage: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a scope stands: the live version, if any, and the release on its way, if any."""

    scope: str
    live: Saved | None
    release: Underway | None = None

    def has(self, agent: Agent) -> bool:
        """Whether the agent is one of this scope's: of its live version, or of the one on its way."""
        return any(each.has(agent) for each in (self.live, self.release and self.release.saved) if each)

    def given(self, agent: Agent) -> Given | None:
        """The version that an agent is given; None if the scope has nothing to say to it."""
        if not self.has(agent):
            return None
        if self.release:
            stage = reached(self.release.stages, self.release.stage, agent.agent_id, agent.labels)
            if stage is not None:
                saved = self.release.saved
                return Given(saved if saved.has(agent) else None, self.release.id, stage)
        return Given(self.live) if self.live and self.live.has(agent) else None


def given(standings: Iterable[Standing], agent: Agent) -> list[Given]:
    """What an agent is given of all scopes, in the order in which a later one wins."""
    found = [each for each in (standing.given(agent) for standing in standings) if each]
    return sorted(found, key=lambda each: _rank(each.saved) if each.saved else ())


def _rank(saved: Saved) -> tuple[int | str, ...]:
    if saved.scope.startswith(GROUP):
        return (1, saved.priority or 0, saved.scope)
    return (0,) if saved.scope == FLEET else (2,)


# One row a scope that is asked for and has anything live or on its way. What is live is the newest that was activated.
_STANDING: LiteralString = """
    select a.scope,
        l.version, l.revision, l.body, l.selector, l.priority,
        r.id as release_id, r.stages, r.stage,
        d.version as to_version, d.revision as to_revision, d.body::text as to_body,
        d.selector as to_selector, d.priority as to_priority
    from asked a
    left join lateral (
        select s.version, s.revision, s.body::text, s.selector, s.priority
        from store.document s
        where s.scope = a.scope and s.activated_at is not null
        order by s.version desc
        limit 1
    ) as l on true
    left join store.release r on r.scope = a.scope and r.state in ('running', 'paused')
    left join store.document d on d.scope = r.scope and d.version = r.to_version
    where l.version is not null or r.id is not null
"""

# Groups are found by leaps over the primary key: however many versions they have, each costs one look. Nothing sorts
# behind them.
_OF_AGENT: LiteralString = """
    with recursive leap (scope) as (
        select 'group:'
        union all
        select (select min(d.scope) from store.document d where d.scope > leap.scope) from leap where scope is not null
    ), asked (scope) as (
        values ('fleet'), ('agent:' || %s::text) union all select scope from leap where scope like 'group:_%%'
    )
"""

_OF_SCOPE: LiteralString = "with asked (scope) as (values (%s::text))"

_OF_ALL: LiteralString = "with asked (scope) as (select distinct scope from store.document)"


def of_agent(connection: Connection, agent_id: str) -> list[Standing]:
    """The fleet, all groups, and the agent's own scope: those where anything is live or on its way."""
    return list(_standings(connection, _OF_AGENT, agent_id))


def of_scope(connection: Connection, scope: str) -> Standing:
    """How one scope stands."""
    return next(_standings(connection, _OF_SCOPE, scope), Standing(scope, None))


def of_all(connection: Connection) -> list[Standing]:
    """All scopes where anything is live or on its way."""
    return list(_standings(connection, _OF_ALL))


def _standings(connection: Connection, asked: LiteralString, *parameters: str) -> Iterator[Standing]:
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(asked + _STANDING, parameters or None):
            live = None if row["version"] is None else _saved(row, "")
            release = None
            if row["release_id"] is not None:
                release = Underway(row["release_id"], _saved(row, "to_"), tuple(row["stages"]), row["stage"])
            yield Standing(row["scope"], live, release)


def _saved(row: DictRow, prefix: str) -> Saved:
    names = ("version", "revision", "body", "selector", "priority")
    return Saved(row["scope"], *(row[prefix + name] for name in names))


def lock(connection: Connection, scope: str) -> None:
    """Until the transaction ends, nobody else saves, rolls back, or begins or ends a release in this scope."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended('store.document:' || %s::text, 0))", (scope,))
