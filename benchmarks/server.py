"""What the benchmarks watch: 1,000 tables, 3,000 indexes and 2,000 statements, of which a fifth is touched a cycle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres

TABLES, TOUCHED = 1000, 200

#: The database with the tables.
DATABASE = "bench"

_SETTINGS = {
    **THROWAWAY,
    "max_locks_per_transaction": "1024",
    "autovacuum": "off",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.max": "5000",
    "pg_stat_statements.track": "all",
}


@contextmanager
def many_tables(installation: Path | None = None, tables: int = TABLES) -> Iterator[EmbeddedPostgres]:
    """A server with them: each table has one row, a primary key and two indexes more, and is asked two questions."""
    with embedded_postgres(_SETTINGS, installation) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("create database bench")
        with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
            connection.execute("create extension pg_stat_statements")
            connection.execute("set pg_stat_statements.track = none")
            for first in range(1, tables + 1, 1000):  # a thousand in a transaction: each holds its locks to the end
                connection.execute(
                    f"""
                    do $$ begin
                        for i in {first}..{min(first + 999, tables)} loop
                            execute format('create table t%s (a int primary key, b int, c text)', i);
                            execute format('create index on t%s (b)', i);
                            execute format('create index on t%s (c)', i);
                            execute format('insert into t%s values (1, 1, ''x'')', i);
                        end loop;
                    end $$
                    """
                )
        touch(server, min(tables, TABLES))
        yield server


def touch(server: EmbeddedPostgres, tables: int = TOUCHED) -> None:
    """Update a row in each of the first tables, and read it."""
    with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
        connection.execute(
            f"""
            do $$ begin
                for i in 1..{tables} loop
                    execute format('update t%s set b = b + 1 where a = 1', i);
                    execute format('select c from t%s where a = 1', i);
                end loop;
            end $$
            """
        )
