"""Counts the agents that are to send, and those of them that have gone silent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from functions.store import Store

# Of those that were never enrolled nobody says when they are gone for good: they are left out after a week.
_COUNT: LiteralString = """
    select count(*),
        count(*) filter (where coalesce(h.heard_at, i.enrolled_at) < %(now)s - coalesce(h.patience, '1 hour'))
    from identity.agent i
    full join store.heard h using (agent_id)
    where i.revoked_at is null and (i.agent_id is not null or h.heard_at > %(now)s - interval '7 days')
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many agents are enrolled, or send without; and how many of these have missed three uploads."""

    agents: int
    silent: int


def count(store: Store, now: datetime) -> Counted:
    """Agents that were enrolled and not revoked, or were heard of within a week. A new one has an hour to begin.

    Raises:
        StoreUnavailableError: try again later.
    """
    ((agents, silent),) = store.read(_COUNT, {"now": now})
    return Counted(agents, silent)
