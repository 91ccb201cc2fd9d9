"""Collectors that fail in agents that were given a release's version, and did not before.

What arrives is read once: a look costs what was loaded since the last one, however long the release is on its way.
"""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

from functions.store import Connection

# A collector that runs often has to fail twice in a row, for at any time some query runs into a timeout somewhere; one
# that runs seldom has to fail once. Failed before has what failed in as long a time before, 10 minutes at least and 6
# hours at most, or in its last run before. All instants are the agent's own: given_at is moved to its clock.
#
# One collector that fails is enough to know of an agent, and a part of the agents is enough to fail the gate: where
# there are more, some are compared, others in the next look. What is compared and counts is not looked for again.
_NOTE: LiteralString = """
    with arrived as materialized (
        select g.agent_id, l.sent_at, g.given_at
        from (
            select r.agent_id, r.given_at + coalesce(a.clock_skew_us, 0) * interval '1 microsecond' as given_at
            from store.release_agent r
            join store.agent a using (agent_id)
            where r.release_id = %(release)s
                and not exists (
                    select from store.release_failure f
                    where f.release_id = r.release_id and f.agent_id = r.agent_id and not f.before
                )
        ) as g
        join store.ledger l on l.agent_id = g.agent_id and l.sent_at > g.given_at
        where l.loaded_at > %(read_from)s
    ), failing as materialized (
        select b.agent_id, b.given_at, r.target_id, r.collected_at,
            row_number() over (partition by r.target_id order by r.collected_at desc) as place
        from arrived b
        join store.target t on t.agent_id = b.agent_id
        cross join lateral (
            select s.target_id, s.collected_at
            from store.runs s
            where s.target_id = t.target_id and s.collected_at = b.sent_at and s.status && %(failing)s::text[]
            offset 0  -- looked up batch by batch
        ) as r
    ), failed as materialized (
        select b.agent_id, b.given_at, r.*
        from failing b
        join (
            select agent_id from (select distinct agent_id from failing) as f order by random() limit %(agents)s
        ) as chosen using (agent_id)
        cross join lateral (
            select s.target_id, s.collected_at, u.*
            from store.runs s
            cross join lateral unnest(s.collector, s.datid, s.started_at, s.status, s.sqlstate, s.detail)
                as u (collector, datid, started_at, status, sqlstate, detail)
            where s.target_id = b.target_id and s.collected_at = b.collected_at
                and u.status = any(%(failing)s::text[]) and u.started_at > b.given_at
            offset 0
        ) as r
        where b.place <= %(batches)s
    ), newest as (
        select distinct on (f.target_id, f.collector, f.datid) f.*
        from failed f
        where not exists (
            select from store.release_failure n
            where n.release_id = %(release)s and n.agent_id = f.agent_id and n.target_id = f.target_id
                and n.collector = f.collector and n.datid = coalesce(f.datid, 0::oid)
        )
        order by f.target_id, f.collector, f.datid, f.started_at desc
    ), compared as materialized (
        select *
        from (select *, row_number() over (partition by agent_id order by target_id, collector, datid) from newest) as n
        where row_number <= %(collectors)s
    )
    insert into store.release_failure
        (release_id, agent_id, target_id, collector, datid, started_at, status, sqlstate, detail, before)
    select %(release)s, s.agent_id, s.target_id, s.collector, coalesce(s.datid, 0::oid), s.started_at, s.status,
        s.sqlstate, s.detail, before.failed
    from compared s
    left join lateral (
        select u.status = any(%(failing)s::text[]) as failed, u.started_at
        from (
            select r.*
            from store.runs r
            where r.target_id = s.target_id and s.collector = any(r.collector)
                and r.collected_at > s.started_at - interval '6 hours' and r.collected_at <= s.collected_at
            order by r.collected_at desc
            limit 10  -- some may be of other databases
        ) as p
        cross join lateral unnest(p.collector, p.datid, p.started_at, p.status)
            as u (collector, datid, started_at, status)
        where u.collector = s.collector and u.datid is not distinct from s.datid and u.started_at < s.started_at
        order by u.started_at desc
        limit 1
    ) as previous on true
    cross join lateral (
        select exists (
            select
            from store.runs p
            cross join lateral unnest(p.collector, p.datid, p.started_at, p.status)
                as u (collector, datid, started_at, status)
            where p.target_id = s.target_id
                and p.collected_at > s.given_at - least(greatest(s.started_at - s.given_at, '10 minutes'), '6 hours')
                and p.collected_at <= s.given_at + interval '1 hour'  -- a batch is closed at most an hour later
                and p.status && %(failing)s::text[] and u.status = any(%(failing)s::text[])
                and u.collector = s.collector and u.datid is not distinct from s.datid
                and u.started_at <= s.given_at
        ) or coalesce(previous.failed and previous.started_at <= s.given_at, false) as failed
        offset 0  -- once, not in each of the places below
    ) as before
    where before.failed
        or previous.started_at is null
        or previous.started_at < s.started_at - interval '5 minutes'
        or previous.failed
    on conflict do nothing
"""

_FAILING = ["error", "permission", "timeout", "unsupported"]

#: Compared in one look: agents, the newest batches of each target, and collectors of each agent.
_MOST = {"agents": 2000, "batches": 3, "collectors": 5}

# A load is seen when its transaction ends, and stands in the ledger with when it began: a later look reads a little of
# what an earlier one has read. After a long pause only the last minutes are read, for what fails still does.
_FROM: LiteralString = """
    select greatest(read_until_at - interval '1 minute', now() - interval '15 minutes'), now()
    from store.release where id = %s
"""


def note(connection: Connection, release_id: int) -> datetime:
    """Note the collectors that failed in what was loaded since the last look; the answer is up to when it was read."""
    row = connection.execute(_FROM, (release_id,)).fetchone()
    assert row is not None  # the caller has the release in hand
    read_from: datetime
    read_until: datetime
    read_from, read_until = row
    connection.execute(_NOTE, {"release": release_id, "read_from": read_from, "failing": _FAILING, **_MOST})
    return read_until
