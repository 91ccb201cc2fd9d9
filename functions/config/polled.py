"""An agent asks for its configuration: one read where it has the newest, computed where anything changed.

What was computed is kept with its generation. A change for many begins a new generation, a change for one agent takes
what was computed for it out of any: both are done by triggers, in the transaction of the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from functions.config.agents import labelled
from functions.config.answer import Answer, answer
from functions.config.effective import Given, given, of_agent
from functions.config.tags import is_any, matches, tags
from functions.store import Connection, Store

# The body is read only for who has another.
_CURRENT: LiteralString = """
    select e.etag, h.has, case when not h.has then (select b.body from store.effective_body b where b.etag = e.etag) end
    from store.generation g
    join store.effective e on e.agent_id = %(agent)s and e.generation = g.generation
    cross join lateral (select %(any)s::boolean or e.etag = any(%(tags)s::text[]) as has) as h
"""

_LOCK: LiteralString = "select pg_advisory_xact_lock(hashtextextended('store.effective:' || %s::text, 0))"

_KEEP: LiteralString = """
    with body as (
        insert into store.effective_body (etag, body) values (%(etag)s, %(body)s) on conflict do nothing
    )
    insert into store.effective (agent_id, generation, version, etag)
    values (%(agent)s, %(generation)s, %(version)s, %(etag)s)
    on conflict (agent_id) do update
        set (generation, version, etag) = (excluded.generation, excluded.version, excluded.etag)
"""

_GIVEN: LiteralString = """
    insert into store.release_agent (release_id, agent_id, stage) values (%s, %s, %s) on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Polled:
    """What an agent is answered: no body, and it has it already."""

    etag: str
    body: str | None


def poll(store: Store, agent_id: str, if_none_match: str | None) -> Polled:
    """What an agent is to obey, if it has not got it.

    Raises:
        StoreUnavailableError: try again later.
    """
    header = if_none_match or ""
    found = store.read(_CURRENT, {"agent": agent_id, "any": is_any(header), "tags": tags(header)})
    for etag, has, body in found:
        if has or body is not None:  # else the body was thought to be of no more use, just now
            return Polled(etag, body)
    with store.transaction() as connection:
        computed = compute(connection, agent_id)
    return Polled(computed.etag, None if matches(if_none_match, computed.etag) else computed.body)


def compute(connection: Connection, agent_id: str) -> Answer:
    """Compute what an agent is to obey, and keep it; a release whose version it is given gets to know.

    The lock, which a change for this agent takes as well, and the generation come first, each in a statement of its
    own: what changes from then on leaves behind nothing that would pass for the newest.
    """
    connection.execute(_LOCK, (agent_id,))
    row = connection.execute("select generation from store.generation").fetchone()
    agent = labelled(connection, agent_id)
    givens = given(of_agent(connection, agent_id), agent)
    computed = answer(givens)
    connection.execute(
        _KEEP,
        {
            "agent": agent_id,
            "generation": row[0] if row else 0,
            "version": computed.version,
            "etag": computed.etag,
            "body": computed.body,
        },
    )
    _tell_releases(connection, agent_id, givens)
    return computed


def _tell_releases(connection: Connection, agent_id: str, givens: list[Given]) -> None:
    for each in givens:
        if each.release_id is not None:
            connection.execute(_GIVEN, (each.release_id, agent_id, each.stage))
