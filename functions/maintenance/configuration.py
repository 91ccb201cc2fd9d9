"""Configurations as they were computed for agents: those of agents that are gone, and bodies that nobody has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.store import Store

#: An agent that has sent nothing for so long is gone; should it ask again, its configuration is computed anew.
_UNSEEN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Of how many agents what was computed was removed, how many bodies went, and how many are left."""

    agents: int
    bodies: int
    left: int


def forget(store: Store, now: datetime) -> Forgotten:
    """Remove what was computed for agents that are gone, then the bodies that no agent has.

    An agent that is given a body in this very moment has it computed once more when it asks for it.

    Raises:
        StoreUnavailableError: try again later.
    """
    with store.transaction() as connection:
        agents = connection.execute(
            """
            delete from store.effective e
            where not exists (
                select from store.agent a where a.agent_id = e.agent_id and a.last_seen_at >= %s
            )
            """,
            (now - _UNSEEN,),
        ).rowcount
        bodies = connection.execute(
            """
            delete from store.effective_body b
            where not exists (select from store.effective e where e.etag = b.etag)
            """
        ).rowcount
        left = connection.execute("select count(*) from store.effective_body").fetchone()
    return Forgotten(agents, bodies, left[0] if left else 0)
