"""What the draft prints is what the migration has: a new metric is pasted, never written by hand."""

from __future__ import annotations

import psycopg

from contracts.metrics import METRICS
from functions.store import Connection
from infra.database.draft import delta, table

_TABLES = """
    select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'metric'::regnamespace and c.relkind = 'p'
    order by c.relname, a.attnum
"""
_INDEXES = "select indexname, indexdef from pg_indexes where schemaname = 'metric' order by 1"
_FUNCTIONS = "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'delta'::regnamespace order by 1"
_VIEWS = "select viewname, definition from pg_views where schemaname = 'delta' order by 1"


def _found(connection: Connection) -> list[object]:
    return [connection.execute(query).fetchall() for query in (_TABLES, _INDEXES, _FUNCTIONS, _VIEWS)]


def test_the_draft_makes_what_the_migration_made(store_dsn: str) -> None:
    with psycopg.connect(store_dsn, autocommit=True) as connection:
        migrated = _found(connection)
        assert all(migrated)
        connection.execute(
            "drop schema metric cascade; drop schema delta cascade; create schema metric; create schema delta"
        )
        for metric in METRICS:
            connection.execute((table(metric) + (delta(metric) if metric.counters else "")).encode())
        assert _found(connection) == migrated
