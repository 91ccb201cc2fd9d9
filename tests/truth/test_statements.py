"""Differences of statements through resets: of all, and of one entry, whatever the extension says of it."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from contracts.metrics import STATEMENT_STATS, STATEMENT_TEXT
from infra.standalone.embedded import EmbeddedPostgres
from tests.truth.story import Story

_ONE = "select queryid, dbid, userid from pg_stat_statements where query like '%%as visited%%'"


@pytest.mark.parametrize(
    ("reset", "known_to_the_extension"),
    [
        ("select pg_stat_statements_reset()", True),
        (f"select pg_stat_statements_reset(userid, dbid, queryid) from ({_ONE}) as one", False),
    ],
    ids=["of all", "of one entry"],
)
def test_calls_through_a_reset(
    story: Story, watched: EmbeddedPostgres, reset: str, known_to_the_extension: bool
) -> None:
    with closing(psycopg.connect(watched.dsn(), autocommit=True)) as connection:

        def visit(times: int) -> None:
            for _ in range(times):
                connection.execute("select 1 as visited")
            story.read(STATEMENT_STATS, STATEMENT_TEXT)

        story.watch(watched.dsn(), "postgres")
        visit(5)
        visit(7)
        connection.execute(reset.replace("%%", "%").encode())
        visit(3)
        visit(4)
        row = connection.execute(_ONE.replace("%%", "%").encode()).fetchone()
        tells = connection.execute(
            "select extversion from pg_extension where extname = 'pg_stat_statements'"
        ).fetchone()
    assert row is not None
    assert tells is not None
    one = f"queryid = {row[0]} and dbid = {row[1]} and userid = {row[2]}"
    assert story.deltas(STATEMENT_STATS, "calls", one) == [None, 7, None, 4]
    # An old extension does not say since when it counts an entry: its counters fall, and that is shown.
    old = tuple(map(int, tells[0].split("."))) < (1, 11)
    assert story.deltas(STATEMENT_STATS, "fell", one) == [False, False, old and not known_to_the_extension, False]
