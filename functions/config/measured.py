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
from contracts.names import HOST_TARGET
from functions.config.gates import MOST_NAMES, Figures, Share, Times
from functions.store import Connection

#: Of fewer agents that were not given the version nobody can tell whether it is the way to the store that is broken.
_ENOUGH = 10

# Silent is who was not heard of for the time of three uploads, by the document that it was given, and never less than
# 3 minutes. A proxy may weaken the tag on its way to the agent, which then reports it so.
_HEARD: LiteralString = """
    with patience as materialized (
        select etag, interval '1 second'
            * greatest(3 * (body::jsonb #>> '{document,upload_every_seconds}')::bigint, 180) as patience
        from store.effective_body
    ), heard as materialized (
        select a.agent_id, a.config_state, a.config_reason, e.etag = ltrim(a.config_etag, 'W/') as answers,
            a.last_seen_at - coalesce(a.clock_skew_us, 0) * interval '1 microsecond' as heard_at,
            %(now)s - coalesce(p.patience, interval '3 minutes') as silent_before
        from store.agent a
        left join store.effective e using (agent_id)
        left join patience p on p.etag = e.etag
    )
"""

# Nobody is silent before somebody listens: see watched_since. Who was not heard of in the hour before it was given the
# version was silent already.
_STANDING: LiteralString = (
    _HEARD
    + """
    , judged as (
        select agent_id, m.agent_id is not null as in_stage, g.given_at is not null as given, f.failure,
            g.given_at is not null and coalesce(h.answers and h.config_state = 'applied', false) as applied,
            g.given_at is not null and coalesce(h.answers and h.config_state = 'rejected', false) as rejected,
            h.config_reason, h.heard_at >= g.given_at - interval '1 hour' as was_alive,
            h.heard_at is not null and greatest(h.heard_at, g.given_at, %(watched_since)s) >= h.silent_before as alive
        from unnest(%(members)s::text[]) as m (agent_id)
        full join (
            select r.agent_id, r.given_at from store.release_agent r where r.release_id = %(release)s
        ) as g using (agent_id)
        left join heard h using (agent_id)
        left join (
            select n.agent_id, min(concat_ws(' ', n.collector || ':', n.status, n.sqlstate, n.detail)) as failure
            from store.release_failure n
            where n.release_id = %(release)s and not n.before
            group by n.agent_id
        ) as f using (agent_id)
    ), sorted as (
        select agent_id, given, applied,
            in_stage and alive and not applied and not rejected as waiting,
            given and (rejected or failure is not null) as error,
            case when rejected then concat_ws(': ', 'refused', config_reason) else failure end as why,
            coalesce(given and was_alive and not alive, false) as missing
        from judged
    )
    select count(*) filter (where given) as given,
        count(*) filter (where applied) as applied,
        count(*) filter (where waiting) as waiting,
        (array_agg(agent_id order by agent_id) filter (where waiting))[:%(names)s] as waiting_agents,
        count(*) filter (where error) as errors,
        (array_agg(agent_id order by agent_id) filter (where error))[:%(names)s] as errors_agents,
        (array_agg(why order by agent_id) filter (where error))[:%(names)s] as errors_why,
        count(*) filter (where missing) as missing,
        (array_agg(agent_id order by agent_id) filter (where missing))[:%(names)s] as missing_agents
    from sorted
"""
)

# Those who were not given the version, and were heard of not long ago.
_OTHERS: LiteralString = (
    _HEARD
    + """
    select count(*) as others, count(*) filter (where greatest(heard_at, %(watched_since)s) < silent_before) as silent
    from heard h
    where heard_at > %(now)s - interval '1 hour'
        and not exists (
            select from store.release_agent r where r.release_id = %(release)s and r.agent_id = h.agent_id
        )
"""
)

# Counters, by the first and the last reading of one epoch, since the version was given and in as long a time before.
_STRETCHES: LiteralString = """
    with given as materialized (
        select r.agent_id, t.target_id, s.given_at,
            s.given_at - greatest(%(now)s - r.given_at, interval '10 minutes') as before_at
        from store.release_agent r
        join store.agent a using (agent_id)
        join store.target t on t.agent_id = a.agent_id and t.name = %(host)s
        cross join lateral (
            select r.given_at + coalesce(a.clock_skew_us, 0) * interval '1 microsecond' as given_at
        ) as s
        where r.release_id = %(release)s
    ), stretch as (
        select g.agent_id, g.target_id, 'after' as side, g.given_at as from_at, timestamptz 'infinity' as until_at
        from given g
        union all
        select g.agent_id, g.target_id, 'before', g.before_at, g.given_at from given g
    )
"""

_MEDIAN: LiteralString = """
    , compared as (
        select agent_id,
            max(pace) filter (where side = 'after') / nullif(max(pace) filter (where side = 'before'), 0) as times
        from paced
        group by agent_id
    )
    select percentile_cont(0.5) within group (order by times) as median, count(times) as measured,
        count(*) filter (where times > %(limit)s) as over,
        (array_agg(agent_id order by times desc) filter (where times > %(limit)s))[:%(names)s] as agents
    from compared
"""

_AGENT_CPU: LiteralString = (
    _STRETCHES
    + """
    , paced as (
        select s.agent_id, s.side,
            (l.cpu_us - f.cpu_us) / extract(epoch from l.collected_at - f.collected_at)::float8 as pace
        from stretch s
        cross join lateral (
            select m.collected_at, m.epoch, m.cpu_us
            from metric.agent_health m
            where m.target_id = s.target_id and m.collected_at > s.from_at and m.collected_at <= s.until_at
            order by m.collected_at desc
            limit 1
        ) as l
        cross join lateral (
            select m.collected_at, m.cpu_us
            from metric.agent_health m
            where m.target_id = s.target_id and m.collected_at > s.from_at and m.collected_at < l.collected_at
                and m.epoch = l.epoch
            order by m.collected_at
            limit 1
        ) as f
    )
"""
    + _MEDIAN
)

_DB_TIME: LiteralString = (
    _STRETCHES
    + """
    , paced as (
        select s.agent_id, s.side, q.us / extract(epoch from l.collected_at - f.collected_at)::float8 as pace
        from stretch s
        cross join lateral (
            select m.collected_at, m.epoch
            from metric.agent_target m
            where m.target_id = s.target_id and m.collected_at > s.from_at and m.collected_at <= s.until_at
            order by m.collected_at desc
            limit 1
        ) as l
        cross join lateral (
            select m.collected_at
            from metric.agent_target m
            where m.target_id = s.target_id and m.collected_at > s.from_at and m.collected_at < l.collected_at
                and m.epoch = l.epoch
            order by m.collected_at
            limit 1
        ) as f
        cross join lateral (
            select sum(b.query_time_us - a.query_time_us) as us
            from metric.agent_target b
            join metric.agent_target a
                on a.target_id = b.target_id and a.collected_at = f.collected_at and a.target = b.target
            where b.target_id = s.target_id and b.collected_at = l.collected_at
        ) as q
    )
"""
    + _MEDIAN
)


def measure(
    connection: Connection,
    release_id: int,
    gates: Gates,
    members: Sequence[str],
    now: datetime,
    watched_since: datetime | None,
) -> Figures:
    """What is known of a release's agents; `members` are those that the stages it has reached are to have.

    While nobody watched, from outages to restarts, nothing tells a silent agent from one that nobody heard: it is
    silent only when it stays so from `watched_since` on, unless that is None.
    """
    parameters: dict[str, object] = {
        "release": release_id,
        "now": now,
        "watched_since": watched_since,
        "names": MOST_NAMES,
        "host": HOST_TARGET,
    }
    row = _row(connection, _STANDING, {**parameters, "members": list(members)})
    others = _row(connection, _OTHERS, parameters)
    unheard = others["others"] >= _ENOUGH and 2 * others["silent"] > others["others"]
    return Figures(
        given=row["given"],
        applied=row["applied"],
        waiting=_share(row, "waiting", len(members)),
        errors=_share(row, "errors", row["given"]),
        missing=None if unheard else _share(row, "missing", row["given"]),
        agent_cpu=_times(connection, _AGENT_CPU, parameters, gates.agent_cpu),
        db_time=_times(connection, _DB_TIME, parameters, gates.db_time),
    )


def _share(row: DictRow, name: str, of: int) -> Share:
    agents = tuple(row[f"{name}_agents"] or ())
    return Share(row[name], of, agents, dict(zip(agents, row.get(f"{name}_why") or (), strict=False)))


def _times(
    connection: Connection, statement: LiteralString, parameters: dict[str, object], limit: float | None
) -> Times | None:
    if limit is None:
        return None
    row = _row(connection, statement, {**parameters, "limit": limit})
    if not row["measured"]:
        return None
    return Times(row["median"], row["measured"], row["over"], tuple(row["agents"] or ()))


def _row(connection: Connection, statement: LiteralString, parameters: dict[str, Any]) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement, parameters).fetchone()
    assert row is not None  # an aggregate has one row
    return row
