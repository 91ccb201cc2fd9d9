"""Promises of statements' texts: each once, and again when it may be missing; nothing in them that is private."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from agent.changes import Changes
from agent.logs.literals import CUT
from agent.targets import texts as module
from agent.targets.texts import StatementTexts
from contracts.batch import Status
from contracts.metrics import STATEMENT_STATS, STATEMENT_TEXT
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Watched, databases, watched

DAY = 86_400


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    with databases(server, "texts") as (name,), psycopg.connect(server.dsn(name), autocommit=True) as admin:
        admin.execute("create extension pg_stat_statements; select pg_stat_statements_reset()")
        yield name


@pytest.fixture
def worker(server: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(database), autocommit=True, prepare_threshold=None) as connection:
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres, database: str) -> Iterator[Watched]:
    with watched(server.dsn(database)) as one:
        yield one


def texts_of(watching: Watched) -> dict[int, str]:
    """The texts of one reading of the statements and what is told of them then."""
    watching.collect(STATEMENT_STATS)
    frames = watching.collect(STATEMENT_TEXT).frames
    return {
        queryid: text
        for frame in frames
        for queryid, text in zip(frame.columns["queryid"], frame.columns["query"], strict=True)
    }


def test_every_statement_told_of_has_its_text_once(watching: Watched, worker: psycopg.Connection) -> None:
    worker.execute("select 'first' as first_one")
    first = texts_of(watching)
    assert "select $1 as first_one" in first.values()
    worker.execute("select 'first' as first_one; select 2 as second_one")
    second = texts_of(watching)
    assert [text for text in second.values() if "_one" in text] == ["select $1 as second_one"]
    assert not set(first) & set(second)


def test_a_watched_server_at_rest_is_not_asked_for_texts_and_gets_no_new_statements_of_ours(
    watching: Watched, worker: psycopg.Connection
) -> None:
    def at_rest() -> bool:
        watching.collect(STATEMENT_STATS)
        return watching.run(STATEMENT_TEXT).status is Status.EMPTY

    asked = """
        select count(*), sum(calls) filter (where query like '%from pg_stat_statements($%where queryid = any%')
        from pg_stat_statements
    """
    worker.execute(asked)
    until(at_rest)
    ((statements, calls),) = worker.execute(asked)
    assert calls > 0
    assert all(at_rest() for _ in range(3))
    assert worker.execute(asked).fetchall() == [(statements, calls)]


def test_passwords_and_literals_of_utility_statements_are_gone(
    watching: Watched, worker: psycopg.Connection, database: str
) -> None:
    role = sql.Identifier(f"{database}_role")
    worker.execute(sql.SQL("create role {} login password 'Tops3cret'").format(role))
    try:
        worker.execute(sql.SQL("alter role {} password 'Tops3cret' /* Tops3cret */").format(role))
        worker.execute("do $body$ begin perform 'Tops3cret'; end $body$")
        worker.execute("set app.token = 'Tops3cret'; set app.token = tops3cret")
        found = texts_of(watching)
    finally:
        worker.execute(sql.SQL("drop role {}").format(role))
    told = list(found.values())
    assert not [text for text in told if "ops3cret" in text]
    assert any(text.startswith("create role") for text in told)
    assert any(text.startswith("alter role") for text in told)


def test_after_lost_data_every_text_comes_again(watching: Watched, worker: psycopg.Connection) -> None:
    worker.execute("select 'lost' as lost_one")
    (queryid,) = (queryid for queryid, text in texts_of(watching).items() if "lost_one" in text)
    watching.changes.forget()
    assert watching.run(STATEMENT_TEXT).status is Status.SKIPPED, "nothing was told of since"
    assert queryid in texts_of(watching)


def test_what_is_too_long_is_cut_and_marked_and_what_are_too_many_come_in_turns(
    watching: Watched, worker: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.execute(f"select 'x' as long_one, {', '.join(f'1 as column_{number}' for number in range(1000))}")
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    watching.collect(STATEMENT_STATS)
    contents = watching.collect(STATEMENT_TEXT)
    (run,) = contents.runs
    assert (run.status, run.rows) == (Status.TRUNCATED, 1)
    assert (run.rows_available or 0) > 1
    found: list[str] = contents.frames[0].columns["query"]

    def has_come() -> bool:
        found.extend(texts_of(watching).values())
        return any("long_one" in text for text in found)

    until(has_come)
    (text,) = (text for text in found if "long_one" in text)
    assert len(text) == 8192
    assert text.endswith(CUT)


def test_a_text_is_due_again_after_a_day_and_one_that_was_not_there_after_an_hour() -> None:
    texts = StatementTexts("main", Changes())
    assert texts.due([1, 2], 0) == [1, 2]
    texts.sent([1, 2], [1], 0)
    assert texts.due([1, 2, 3], 60) == [3]
    assert texts.due([1, 2], 3600) == [2]
    assert texts.due([1, 2], DAY - 1) == [2]
    assert texts.due([1, 2], DAY) == [1, 2]


def test_what_was_sent_longest_ago_is_forgotten_first() -> None:
    texts = StatementTexts("main", Changes())
    texts.sent([1, 2, 3], [1, 2, 3], 0)
    texts.sent([1, 4], [1, 4], 10)
    texts.forget_all_but(3)
    assert texts.due([1, 2, 3, 4], 20) == [2]
    texts.forget_all_but(3)
    assert texts.due([1, 3, 4], 20) == []


def test_memory_does_not_grow_with_statements_that_come_and_go(
    watching: Watched, worker: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 0)
    for number in range(5):
        worker.execute(f"select pg_stat_statements_reset(); create temp table a{number} (); select from a{number}")
        watching.collect(STATEMENT_STATS)
        watching.collect(STATEMENT_TEXT)
        told = watching.changes.last(STATEMENT_STATS, "main")
        assert 0 < len(watching.target._texts._due_at) <= len(told)
