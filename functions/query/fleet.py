"""Reads agents, targets and the store's health."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg.errors import UndefinedTable
from psycopg.rows import DictRow, dict_row

from functions.pages import Bigint, Text, decode, encode
from functions.query.answers import Agent, Agents, Health, Run, Target, TargetDetail, Targets
from functions.store import Store

_AGENTS: LiteralString = """
    select * from store.agent where agent_id > %(after)s order by agent_id limit %(limit)s
"""

# The newest row of a target is found by the index, from the newest partition on.
_TARGET: LiteralString = """
    select t.target_id as id, t.agent_id, t.name, t.first_seen_at, t.last_seen_at, h.hostname, h.os,
        c.server_version, c.server_version_num, c.system_identifier, c.cluster_name, c.port, c.in_recovery
    from store.target t
    left join lateral (
        select m.hostname, m.os from metric.host m
        where m.target_id = t.target_id order by m.collected_at desc limit 1
    ) as h on true
    left join lateral (
        select m.server_version, m.server_version_num, m.system_identifier, m.cluster_name, m.port, m.in_recovery
        from metric.cluster m
        where m.target_id = t.target_id order by m.collected_at desc limit 1
    ) as c on true
"""

_RUNS: LiteralString = """
    select distinct on (r.collector, r.datid)
        r.collector, r.datid, r.started_at, r.duration_us, r.status, r.sqlstate, r.rows, r.rows_available, r.detail
    from store.target t
    join store.run r on r.target_id = t.target_id
        and r.sent_at > t.last_seen_at - interval '1 day' and r.sent_at <= t.last_seen_at
    where t.target_id = %(id)s
    order by r.collector, r.datid, r.started_at desc
"""


class StoreNotReadyError(Exception):
    """The store can be reached, but its schema has not been made."""


def agents(store: Store, limit: int, cursor: str | None) -> Agents:
    """One page of agents.

    Raises:
        CursorError: the cursor is not of this route.
        StoreUnavailableError: try again later.
    """
    after = decode(cursor, Text)[0] if cursor else ""
    rows = _rows(store, _AGENTS, {"after": after, "limit": limit + 1})
    following = encode((rows[limit - 1]["agent_id"],)) if len(rows) > limit else None
    return Agents(items=[Agent(**row) for row in rows[:limit]], next=following)


def targets(store: Store, limit: int, cursor: str | None) -> Targets:
    """One page of targets.

    Raises:
        CursorError: the cursor is not of this route.
        StoreUnavailableError: try again later.
    """
    after = decode(cursor, Bigint)[0] if cursor else -1
    page: LiteralString = _TARGET + "where t.target_id > %(after)s order by t.target_id limit %(limit)s"
    rows = _rows(store, page, {"after": after, "limit": limit + 1})
    following = encode((rows[limit - 1]["id"],)) if len(rows) > limit else None
    return Targets(items=[Target(**row) for row in rows[:limit]], next=following)


def target(store: Store, id: int) -> TargetDetail | None:
    """One target and the last runs of its collectors; None if there is no such target.

    Raises:
        StoreUnavailableError: try again later.
    """
    one: LiteralString = _TARGET + "where t.target_id = %(id)s"
    found = _rows(store, one, {"id": id})
    if not found:
        return None
    runs = _rows(store, _RUNS, {"id": id})
    return TargetDetail(**found[0], runs=[Run(**run) for run in runs])


def health(store: Store) -> Health:
    """That the store answers, with which schema, and how fresh its data is.

    Raises:
        StoreNotReadyError: there is no schema.
        StoreUnavailableError: the store cannot be reached.
    """
    try:
        row = _rows(
            store,
            """
            select v.version_num as schema,
                (select extract(epoch from now() - max(last_seen_at))::float8 from store.agent) as last_batch_seconds
            from public.alembic_version v
            """,
            {},
        )[0]
    except (UndefinedTable, IndexError) as error:
        raise StoreNotReadyError("the store has no schema; migrate it") from error
    return Health(**row)


def _rows(store: Store, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
    with store.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters).fetchall()
