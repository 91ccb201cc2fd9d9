"""What every agent is to obey, as computed this instant, against what it says that it obeys; and its labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, LiteralString, get_args

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from contracts.configuration import AgentConfiguration, Explained, FleetConfiguration
from contracts.document import Document
from contracts.overlay import AGENT, merge
from functions.config.agents import everyone, known, labelled
from functions.config.answer import Answer, answer
from functions.config.effective import given, of_agent, of_all
from functions.pages import Text, decode, encode
from functions.store import Connection

State = Literal["current", "behind", "rejected", "silent", "unknown"]

# An agent says when by its own clock. A proxy may have weakened the tag on its way to the agent.
_REPORTED: LiteralString = """
    select agent_id, last_seen_at,
        last_seen_at - coalesce(clock_skew_us, 0) * interval '1 microsecond' as heard_at,
        config_version as version, ltrim(config_etag, 'W/') as etag, config_state as state, config_reason as reason
    from store.agent
"""

_LABEL: LiteralString = """
    insert into store.agent_labels (agent_id, labels) values (%s, %s)
    on conflict (agent_id) do update set labels = excluded.labels
"""


@dataclass(frozen=True, slots=True)
class Reported:
    """What the last batch of an agent says of its configuration; when, by the agent's clock and by the server's."""

    agent_id: str
    last_seen_at: datetime
    heard_at: datetime
    version: int
    etag: str | None
    state: str
    reason: str | None


def silent_after(document: Document) -> timedelta:
    """An agent that obeys this and has sent nothing for so long has gone silent: it has missed three uploads."""
    return timedelta(seconds=max(3 * document.upload_every_seconds, 180))


def state(wanted: Answer, reported: Reported | None, now: datetime) -> State:
    """How an agent stands to what it is to obey."""
    if reported is None:
        return "unknown"
    if now - reported.heard_at > silent_after(wanted.document):
        return "silent"
    if reported.etag != wanted.etag:
        return "behind"
    return "rejected" if reported.state == "rejected" else "current"


def fleet(
    connection: Connection, now: datetime, limit: int, cursor: str | None, only: State | None = None
) -> FleetConfiguration:
    """One page of agents by id, those in a state or all; and how many of the whole fleet are in each.

    Raises:
        CursorError: the cursor is not of this route.
    """
    after = decode(cursor, Text)[0] if cursor else ""
    standings, counts = of_all(connection), Counter[State]()
    shared = [each for each in standings if not each.scope.startswith(AGENT)]
    own = {each.scope: each for each in standings if each.scope.startswith(AGENT)}
    with connection.cursor(row_factory=class_row(Reported)) as reading:
        reports = {each.agent_id: each for each in reading.execute(_REPORTED)}
    page: list[AgentConfiguration] = []
    for agent in everyone(connection):
        of_its_own = own.get(AGENT + agent.agent_id)
        wanted = answer(given([*shared, of_its_own] if of_its_own else shared, agent))
        reported = reports.get(agent.agent_id)
        found = state(wanted, reported, now)
        counts[found] += 1
        if agent.agent_id > after and only in {None, found} and len(page) <= limit:
            page.append(_configuration(agent.agent_id, found, wanted, reported))
    following = encode((page[limit - 1].agent_id,)) if len(page) > limit else None
    return FleetConfiguration(
        items=page[:limit], counts={name: counts[name] for name in get_args(State)}, next=following
    )


def _configuration(agent_id: str, found: State, wanted: Answer, reported: Reported | None) -> AgentConfiguration:
    return AgentConfiguration(
        agent_id=agent_id,
        state=found,
        version=wanted.version,
        reported_version=reported and reported.version,
        reason=reported and reported.reason,
        last_seen_at=reported and reported.last_seen_at,
    )


def explain(connection: Connection, agent_id: str) -> Explained | None:
    """What an agent is to obey, and which scope each key is from; None if there is no such agent."""
    if not known(connection, agent_id):
        return None
    agent = labelled(connection, agent_id)
    givens = given(of_agent(connection, agent_id), agent)
    saved = [each.saved for each in givens if each.saved]
    merged, answered = merge([(each.scope, json.loads(each.body)) for each in saved]), answer(givens)
    return Explained(
        agent_id=agent_id,
        version=answered.version,
        etag=answered.etag,
        labels=dict(agent.labels),
        scopes=[each.scope for each in saved],
        document=merged.document.model_dump(mode="json"),
        origins=dict(merged.origins),
    )


def label(connection: Connection, agent_id: str, labels: Mapping[str, str]) -> Explained | None:
    """Give an agent these labels in the place of all that it had; None if there is no such agent."""
    if not known(connection, agent_id):
        return None
    connection.execute(_LABEL, (agent_id, Jsonb(labels)))
    return explain(connection, agent_id)
