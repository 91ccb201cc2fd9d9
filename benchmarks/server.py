"""What the benchmarks watch: 1,000 tables with 3,000 indexes, of which a fifth is touched between cycles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres

TABLES, TOUCHED = 1000, 200

#: The database with the tables.
DATABASE = "bench"


@contextmanager
def many_tables() -> Iterator[EmbeddedPostgres]:
    """A server with them, each of one row, with a primary key and two indexes more."""
    with embedded_postgres({**THROWAWAY, "max_locks_per_transaction": "1024", "autovacuum": "off"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("create database bench")
        with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
            connection.execute(
                f"""
                do $$ begin
                    for i in 1..{TABLES} loop
                        execute format('create table t%s (a int primary key, b int, c text)', i);
                        execute format('create index on t%s (b)', i);
                        execute format('create index on t%s (c)', i);
                        execute format('insert into t%s values (1, 1, ''x'')', i);
                    end loop;
                end $$
                """
            )
        yield server


def touch(server: EmbeddedPostgres) -> None:
    """Update a row in each of the first 200 tables."""
    with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
        connection.execute(
            f"do $$ begin for i in 1..{TOUCHED} loop "
            "execute format('update t%s set b = b + 1 where a = 1', i); end loop; end $$"
        )
