"""The migrations' tables are what the catalogue declares."""

from __future__ import annotations

import psycopg
import pytest

from contracts.metrics import METRICS, Metric
from infra.database.migrate import migrate, newest, sql
from infra.standalone.embedded import EmbeddedPostgres

_COLUMNS = """
    select column_name, data_type, is_nullable = 'NO'
    from information_schema.columns
    where table_schema = %s and table_name = %s
    order by ordinal_position
"""


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_table_has_the_columns_of_its_metric(store_dsn: str, metric: Metric) -> None:
    with psycopg.connect(store_dsn) as connection:
        found = connection.execute(_COLUMNS, ("metric", metric.name)).fetchall()
    assert [(name, kind) for name, kind, _ in found] == [(name, str(type_)) for name, type_ in metric.stored]
    placing = {name for name, _ in metric.stored} - set(metric.names)
    assert {name for name, _, required in found if required} == placing | set(metric.key)


@pytest.mark.parametrize("metric", [m for m in METRICS if m.counters], ids=lambda metric: metric.name)
def test_deltas_have_the_columns_of_their_metric(store_dsn: str, metric: Metric) -> None:
    with psycopg.connect(store_dsn) as connection:
        found = [name for name, _, _ in connection.execute(_COLUMNS, ("delta", metric.name)).fetchall()]
    placed = [name for name, _ in metric.stored if name == "datid" and name not in metric.names]
    assert found == ["target_id", "collected_at", "since_at", "fell", *placed, *metric.names]


def test_there_is_no_table_without_a_metric(store_dsn: str) -> None:
    with psycopg.connect(store_dsn) as connection:
        found = connection.execute(
            "select relname from pg_class where relnamespace = 'metric'::regnamespace and relkind = 'p'"
        ).fetchall()
    assert {name for (name,) in found} == {metric.name for metric in METRICS}


def test_migrating_again_changes_nothing(store_dsn: str) -> None:
    assert migrate(store_dsn) == (newest(), newest())


def test_the_printed_statements_make_the_same_store(server: EmbeddedPostgres, store_dsn: str) -> None:
    query = """
        select table_schema, table_name, column_name, data_type from information_schema.columns
        where table_schema in ('store', 'metric', 'delta', 'rollup') order by 1, 2, ordinal_position
    """
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create database by_hand")
    with psycopg.connect(server.dsn("by_hand"), autocommit=True) as by_hand, psycopg.connect(store_dsn) as migrated:
        by_hand.execute(sql().encode())
        assert by_hand.execute(query).fetchall() == migrated.execute(query).fetchall()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("drop database by_hand with (force)")
