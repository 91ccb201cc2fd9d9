"""Measures what a release does to the agents that were given its version, from what they have sent.

Each statement is about all agents at once. What an agent says of time is by its own clock, which the store knows how
far to be ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import DictRow, dict_row

from contracts.configuration import Gates
from functions.config.gates import MOST_NAMES, Figures, Share
from functions.config.paces import agent_cpu, db_time
from functions.store import Connection

# Nobody is silent before somebody listens: see watched_since. Who was not heard of in the hour before it was given the
# version was silent already.
_STANDING: LiteralString = """
    with judged as (
        select agent_id, m.agent_id is not null as in_stage, g.given_at is not null as given,
            case when g.stage = %(stage)s then g.given_at end as given_at, f.failure,
            g.given_at is not null and coalesce(h.answers and h.config_state = 'applied', false) as applied,
            g.given_at is not null and coalesce(h.answers and h.config_state = 'rejected', false) as rejected,
            h.config_reason, h.heard_at >= g.given_at - interval '1 hour' as was_alive, h.heard_at is not null
                and greatest(h.heard_at, g.given_at, %(watched_since)s) >= %(now)s - h.patience as alive
        from unnest(%(members)s::text[]) as m (agent_id)
        full join (
            select r.agent_id, r.given_at, r.stage from store.release_agent r where r.release_id = %(release)s
        ) as g using (agent_id)
        left join store.heard h using (agent_id)
        left join (
            select n.agent_id, min(concat_ws(' ', n.collector || ':', n.status, n.sqlstate, n.detail)) as failure
            from store.release_failure n
            where n.release_id = %(release)s and not n.before
            group by n.agent_id
        ) as f using (agent_id)
    ), grouped as (
        select agent_id, given, given_at, applied,
            in_stage and alive and not applied and not rejected as waiting,
            given and (rejected or failure is not null) as error,
            case when rejected then concat_ws(': ', 'refused', config_reason) else failure end as why,
            coalesce(given and was_alive and not alive, false) as missing
        from judged
    )
    select count(*) filter (where given) as given,
        percentile_disc(0.95) within group (order by given_at) as settled_at,
        count(*) filter (where applied) as applied,
        count(*) filter (where waiting) as waiting,
        (array_agg(agent_id order by agent_id) filter (where waiting))[:%(names)s] as waiting_agents,
        count(*) filter (where error) as errors,
        (array_agg(agent_id order by agent_id) filter (where error))[:%(names)s] as errors_agents,
        (array_agg(why order by agent_id) filter (where error))[:%(names)s] as errors_why,
        count(*) filter (where missing) as missing,
        (array_agg(agent_id order by agent_id) filter (where missing))[:%(names)s] as missing_agents
    from grouped
"""

# Of ten agents that were not given the version, and are in use, all are late by half an upload and more: they would not
# have left together.
_UNHEARD: LiteralString = """
    select count(*) >= 10 and bool_and(h.heard_at < %(now)s - h.patience / 2)
    from store.heard h
    where h.heard_at > %(now)s - interval '1 day'
        and not exists (
            select from store.release_agent r where r.release_id = %(release)s and r.agent_id = h.agent_id
        )
"""


def unheard(connection: Connection, release_id: int, now: datetime) -> bool:
    """Whether nobody is heard of for a reason that is not the release's: the way into the store is broken."""
    row = connection.execute(_UNHEARD, {"release": release_id, "now": now}).fetchone()
    return bool(row and row[0])


def measure(
    connection: Connection,
    release_id: int,
    gates: Gates,
    stage: int,
    members: Sequence[str],
    now: datetime,
    watched_since: datetime | None,
) -> Figures:
    """What is known of a release's agents; `members` are those that the stages up to this one are to have.

    A silence that began before `watched_since` counts from there, for nothing tells it from one in which nobody
    listened; where that is this very instant, who is missing is not known. None: somebody always listened.
    """
    parameters: dict[str, object] = {
        "release": release_id,
        "stage": stage,
        "now": now,
        "watched_since": watched_since,
        "names": MOST_NAMES,
    }
    row = _row(connection, _STANDING, {**parameters, "members": list(members)})
    return Figures(
        given=row["given"],
        applied=row["applied"],
        settled_at=row["settled_at"],
        waiting=_share(row, "waiting", len(members)),
        errors=_share(row, "errors", row["given"]),
        missing=None if watched_since == now else _share(row, "missing", row["given"]),
        agent_cpu=agent_cpu(connection, release_id, gates.agent_cpu, now) if gates.agent_cpu else None,
        db_time=db_time(connection, release_id, gates.db_time, now) if gates.db_time else None,
    )


def _share(row: DictRow, name: str, of: int) -> Share:
    agents = tuple(row[f"{name}_agents"] or ())
    return Share(row[name], of, agents, dict(zip(agents, row.get(f"{name}_why") or (), strict=False)))


def _row(connection: Connection, statement: LiteralString, parameters: dict[str, Any]) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement, parameters).fetchone()
    assert row is not None  # an aggregate has one row
    return row
