"""How much more an agent takes since it was given a release's version, of its host and of its databases."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import LiteralString

from functions.config.gates import MOST_NAMES, Times
from functions.store import Connection

# Counters grow by what the last reading of a stretch has more than the first one of the same epoch.
_AGENT_CPU: LiteralString = """
    select s.agent_id, s.since,
        (l.cpu_us - f.cpu_us) / extract(epoch from l.collected_at - f.collected_at)::float8 as pace
    from store.release_stretch(%(release)s, %(now)s) s
    cross join lateral (
        select m.collected_at, m.epoch, m.cpu_us
        from metric.agent_health m
        where m.target_id = s.target_id and m.collected_at > s.from_at and m.collected_at <= s.to_at
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
"""

_DB_TIME: LiteralString = """
    select s.agent_id, s.since, q.us / extract(epoch from l.collected_at - f.collected_at)::float8 as pace
    from store.release_stretch(%(release)s, %(now)s) s
    cross join lateral (
        select m.collected_at, m.epoch
        from metric.agent_target m
        where m.target_id = s.target_id and m.collected_at > s.from_at and m.collected_at <= s.to_at
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
        select sum(b.query_time_us - a.query_time_us)::float8 as us
        from metric.agent_target b
        join metric.agent_target a
            on a.target_id = b.target_id and a.collected_at = f.collected_at and a.target = b.target
        where b.target_id = s.target_id and b.collected_at = l.collected_at
    ) as q
"""


def agent_cpu(connection: Connection, release_id: int, limit: float, now: datetime) -> Times | None:
    """The agent's processor time; None where no agent has two readings on both sides."""
    return _times(connection, _AGENT_CPU, release_id, limit, now)


def db_time(connection: Connection, release_id: int, limit: float, now: datetime) -> Times | None:
    """Time that all targets of an agent spend in its queries; None where no agent has two readings on both sides."""
    return _times(connection, _DB_TIME, release_id, limit, now)


def _times(
    connection: Connection, statement: LiteralString, release_id: int, limit: float, now: datetime
) -> Times | None:
    since: dict[str, float] = {}
    before: dict[str, float] = {}
    for agent_id, is_since, pace in connection.execute(statement, {"release": release_id, "now": now}):
        if pace is not None:
            (since if is_since else before)[agent_id] = pace
    times = {agent_id: pace / before[agent_id] for agent_id, pace in since.items() if before.get(agent_id, 0) > 0}
    if not times:
        return None
    over = sorted((agent_id for agent_id in times if times[agent_id] > limit), key=lambda each: -times[each])
    return Times(median(times.values()), len(times), len(over), tuple(over[:MOST_NAMES]))
