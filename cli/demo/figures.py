"""What has arrived in the store, asked of it in SQL as anybody could."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from cli.demo.lab import AGENT, DATABASE, TARGET
from contracts.metrics import METRICS
from contracts.names import HOST_TARGET, target_id

_TARGET = {"target": target_id(AGENT, TARGET), "host": target_id(AGENT, HOST_TARGET), "database": DATABASE}

_TABLE_INSERTS = """
    select coalesce(sum(d.n_tup_ins), 0)::bigint as inserts
    from delta.table_stats d
    where d.target_id = %(target)s and d.relid = (
        select r.relid from metric.relation r
        where r.target_id = %(target)s and r.relation_name = 'pgbench_history'
        limit 1
    )
"""

_COMMITS = """
    select coalesce(sum(d.xact_commit), 0)::bigint as commits
    from delta.database_stats d
    where d.target_id = %(target)s and d.datid = (
        select m.datid from metric.database m
        where m.target_id = %(target)s and m.datname = %(database)s
        limit 1
    )
"""

_STATEMENT_CALLS = """
    select coalesce(sum(d.calls), 0)::bigint as calls
    from delta.statement_stats d
    where d.target_id = %(target)s and d.queryid in (
        select t.queryid from metric.statement_text t
        where t.target_id = %(target)s and starts_with(t.query, 'INSERT INTO pgbench_history')
    )
"""

_BASELINE = """
    select exists (
        select from metric.statement_stats s
        join metric.statement_text t using (target_id, queryid)
        where s.target_id = %(target)s and starts_with(t.query, 'INSERT INTO pgbench_history')
    ) and exists (
        select from metric.table_stats t
        join metric.relation r using (target_id, datid, relid)
        where t.target_id = %(target)s and r.relation_name = 'pgbench_history'
    ) and exists (
        select from metric.database_stats s
        join metric.database m using (target_id, datid)
        where s.target_id = %(target)s and m.datname = %(database)s
    ) as there
"""

_RATES = """
    select
        d.collected_at,
        sum(d.xact_commit) / extract(epoch from d.collected_at - min(d.since_at)) as commits_per_second
    from delta.database_stats(%(target)s, now() - interval '2 minutes', now()) d
    where d.datid <> 0 and d.xact_commit is not null
    group by d.collected_at
    order by d.collected_at desc
    limit 60
"""

_BUSIEST = """
    select
        r.schema_name || '.' || r.relation_name as relation,
        sum(d.n_tup_ins)::bigint as inserted, sum(d.n_tup_upd)::bigint as updated, sum(d.n_tup_del)::bigint as deleted,
        sum(d.seq_scan)::bigint as seq_scan,
        sum(d.heap_blks_read)::bigint as heap_blks_read, sum(d.heap_blks_hit)::bigint as heap_blks_hit
    from delta.table_stats(%(target)s, now() - interval '30 seconds', now()) d
    join lateral (
        select schema_name, relation_name from metric.relation r
        where r.target_id = d.target_id and r.datid = d.datid and r.relid = d.relid
        order by r.collected_at desc
        limit 1
    ) r on true
    group by 1
    order by sum(d.n_tup_ins + d.n_tup_upd + d.n_tup_del) desc nulls last, 1
    limit 6
"""

_STATEMENTS = """
    select
        (
            select t.query from metric.statement_text t
            where t.target_id = d.target_id and t.queryid = d.queryid order by t.collected_at desc limit 1
        ) as query,
        sum(d.calls)::bigint as calls, sum(d.total_exec_time_us)::bigint as time_us, sum(d.rows)::bigint as rows
    from delta.statement_stats(%(target)s, now() - interval '30 seconds', now()) d
    group by d.target_id, d.queryid
    order by time_us desc nulls last
    limit 5
"""

_HOST = """
    select
        c.user_us + c.nice_us as user_us, c.system_us + c.irq_us + c.softirq_us as system_us, c.iowait_us, c.steal_us,
        c.user_us + c.nice_us + c.system_us + c.irq_us + c.softirq_us + c.iowait_us + c.steal_us + c.idle_us as all_us,
        m.total_bytes, m.available_bytes, l.load_1m, l.load_5m, d.written_bytes_per_second
    from (
        select * from delta.host_cpu(%(host)s, now() - interval '1 minute', now())
        where user_us is not null order by collected_at desc limit 1
    ) c
    cross join (
        select * from metric.host_memory where target_id = %(host)s order by collected_at desc limit 1
    ) m
    cross join (select * from metric.host_load where target_id = %(host)s order by collected_at desc limit 1) l
    cross join (
        select sum(written_bytes) / nullif(extract(epoch from max(collected_at) - min(since_at)), 0)
            as written_bytes_per_second
        from delta.host_disk(%(host)s, now() - interval '15 seconds', now())
    ) d
"""

_LOG = """
    select logged_at, severity, message from metric.log_event
    where target_id = %(target)s order by collected_at desc, position desc limit 3
"""

_FLEET = """
    select
        (select count(*) from store.ledger) as batches, (select max(loaded_at) from store.ledger) as last_loaded_at,
        (select count(*) from store.quarantine) as quarantined, a.agent_version, a.config_version, a.config_state,
        (select count(*) from store.run where status not in ('ok', 'empty')) as troubled_runs
    from store.agent a where agent_id = %(agent)s
"""


@dataclass(frozen=True)
class Measured:
    """What the store says pgbench did: commits in its database, rows put into its history, calls of that statement."""

    commits: int
    table_inserts: int
    statement_calls: int


class Figures:
    """Questions to the store, over one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement.encode(), {**_TARGET, "agent": AGENT}).fetchall()

    def measured(self) -> Measured:
        return Measured(
            int(self._rows(_COMMITS)[0]["commits"]),
            int(self._rows(_TABLE_INSERTS)[0]["inserts"]),
            int(self._rows(_STATEMENT_CALLS)[0]["calls"]),
        )

    def baseline(self) -> bool:
        """Whether the first readings have arrived, from which deltas count."""
        return bool(self._rows(_BASELINE)[0]["there"])

    def rows(self) -> dict[str, int]:
        """Rows in the store, by metric."""
        parts = [
            sql.SQL("select {}::text, count(*) from {}").format(m.name, sql.Identifier("metric", m.name))
            for m in METRICS
        ]
        return dict(self._connection.execute(sql.SQL(" union all ").join(parts)).fetchall())

    def batches(self) -> int:
        return int(self._connection.execute("select count(*) from store.ledger").fetchall()[0][0])

    def fleet(self) -> dict[str, Any] | None:
        return next(iter(self._rows(_FLEET)), None)

    def commits_per_second(self) -> list[tuple[datetime, float]]:
        """The last readings, the newest first."""
        return [(row["collected_at"], float(row["commits_per_second"])) for row in self._rows(_RATES)]

    def busiest(self) -> list[dict[str, Any]]:
        return self._rows(_BUSIEST)

    def statements(self) -> list[dict[str, Any]]:
        return self._rows(_STATEMENTS)

    def host(self) -> dict[str, Any] | None:
        return next(iter(self._rows(_HOST)), None)

    def log(self) -> list[dict[str, Any]]:
        return self._rows(_LOG)
