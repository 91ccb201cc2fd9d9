"""Agents and their labels: those that operators gave, or else those of the enrolment."""

from __future__ import annotations

from typing import LiteralString

from functions.config.effective import Agent
from functions.store import Connection

_LABELS: LiteralString = """
    select coalesce(
        (select labels from store.agent_labels where agent_id = %(id)s),
        (select labels from identity.agent where agent_id = %(id)s),
        '{}'
    )
"""

# Who was revoked is no longer to obey anything. Who has a token without an enrolment is known by asking or sending.
_ALL: LiteralString = """
    select k.agent_id, coalesce(l.labels, i.labels, '{}')
    from (
        select agent_id from identity.agent
        union select agent_id from store.agent
        union select agent_id from store.agent_labels
        union select agent_id from store.effective
    ) as k
    left join identity.agent i using (agent_id)
    left join store.agent_labels l using (agent_id)
    where i.revoked_at is null
    order by k.agent_id collate "C"
"""

_KNOWN: LiteralString = """
    select exists (select from identity.agent where agent_id = %(id)s)
        or exists (select from store.agent where agent_id = %(id)s)
        or exists (select from store.agent_labels where agent_id = %(id)s)
        or exists (select from store.effective where agent_id = %(id)s)
"""


def labelled(connection: Connection, agent_id: str) -> Agent:
    """An agent with its labels; one that nobody knows has none."""
    row = connection.execute(_LABELS, {"id": agent_id}).fetchone()
    return Agent(agent_id, row[0] if row else {})


def everyone(connection: Connection) -> list[Agent]:
    """All agents that were enrolled and not revoked, have sent anything, or have asked for their configuration."""
    return [Agent(agent_id, labels) for agent_id, labels in connection.execute(_ALL)]


def known(connection: Connection, agent_id: str) -> bool:
    """Whether there is an agent of this name, revoked or not."""
    row = connection.execute(_KNOWN, {"id": agent_id}).fetchone()
    return bool(row and row[0])
