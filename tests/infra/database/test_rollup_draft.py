"""What is declared of rollups is what the migration has, and they look back as far as the differences do."""

from __future__ import annotations

import psycopg
import pytest

from contracts.rollups import LOOKBACK_HOURS, ROLLUPS, Rollup
from functions.store import Connection
from infra.database.rollup import rollup

_COLUMNS = """
    select column_name, data_type from information_schema.columns
    where table_schema = 'rollup' and table_name = %s
    order by ordinal_position
"""
_MADE = """
    select pg_get_functiondef(oid) from pg_proc where pronamespace = 'rollup'::regnamespace
    union all select indexdef from pg_indexes where schemaname = 'rollup'
    union all select c.oid::regclass || ' ' || pg_get_partkeydef(c.oid)
    from pg_class c where c.relnamespace = 'rollup'::regnamespace and c.relkind = 'p'
    order by 1
"""


@pytest.mark.parametrize("of", ROLLUPS, ids=lambda of: of.name)
def test_a_table_has_the_columns_that_are_declared(store_dsn: str, of: Rollup) -> None:
    with psycopg.connect(store_dsn) as connection:
        found = connection.execute(_COLUMNS, (of.name,)).fetchall()
    assert found == [(name, str(type_)) for name, type_ in of.stored]


def _made(connection: Connection) -> list[tuple[str]]:
    return connection.execute(_MADE).fetchall()


def test_the_draft_makes_what_the_migration_made(store_dsn: str) -> None:
    with psycopg.connect(store_dsn, autocommit=True) as connection:
        migrated = _made(connection)
        assert len(migrated) == 3 * len(ROLLUPS)
        connection.execute("drop schema rollup cascade; create schema rollup")
        for of in ROLLUPS:
            connection.execute(rollup(of).encode())
        assert _made(connection) == migrated


def test_differences_look_back_as_far_as_rollups_expect(store_dsn: str) -> None:
    with psycopg.connect(store_dsn) as connection:
        found = connection.execute(
            "select distinct pg_get_function_arg_default(p.oid, 4) from pg_proc p "
            "where p.pronamespace = 'delta'::regnamespace"
        ).fetchall()
    assert found == [(f"'{LOOKBACK_HOURS:02}:00:00'::interval",)]


@pytest.mark.parametrize(
    ("wrong", "of"),
    [
        ({"counters": ("numbackends",)}, "another kind"),
        ({"gauges": ("numbackends", "numbackends")}, "declared twice"),
        ({"counters": ("xact_commit",), "by": ("datid",)}, "by the key"),
    ],
)
def test_a_declaration_that_cannot_be(wrong: dict[str, tuple[str, ...]], of: str) -> None:
    with pytest.raises(ValueError, match=of):
        Rollup("database_stats", **wrong)
