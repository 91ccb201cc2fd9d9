"""A deployment migrates the store by a function: once, whoever asks, and with an answer that says what ran."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from infra.database.handler import MigrationFailedError, handler
from infra.database.migrate import newest
from infra.standalone.embedded import EmbeddedPostgres


@pytest.fixture
def empty(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database without anything."""
    name = "to_be_migrated"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        monkeypatch.setenv("PGANALYTICS_STORE_DSN", server.dsn(name))
        yield server.dsn(name)
        connection.execute(f"drop database {name} with (force)")


def _versions(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("select version_num from public.alembic_version").fetchall()


def test_an_empty_store_is_brought_to_the_newest_version_and_then_left_alone(empty: str) -> None:
    first = handler({}, None)
    assert (first["before"], first["after"]) == (None, newest())
    assert first["ran"] == sorted(first["ran"])
    assert (first["ran"][0], first["ran"][-1]) == ("0001", newest())
    assert handler({}, None) == {"before": newest(), "after": newest(), "ran": []}
    assert _versions(empty) == [(newest(),)]


def test_of_those_that_ask_at_once_one_migrates(empty: str) -> None:
    answers: list[dict[str, Any]] = []
    asking = [threading.Thread(target=lambda: answers.append(handler({}, None))) for _ in range(3)]
    for each in asking:
        each.start()
    for each in asking:
        each.join(60)
    assert sorted(bool(answer["ran"]) for answer in answers) == [False, False, True]
    assert _versions(empty) == [(newest(),)]


def test_a_migration_that_fails_leaves_the_store_and_is_an_error_of_the_function(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("create schema metric")  # somebody else's
    with pytest.raises(MigrationFailedError, match='schema "metric" already exists'):
        handler({}, None)
    with psycopg.connect(empty) as connection:
        assert connection.execute("select to_regnamespace('store')").fetchone() == (None,)


def test_a_store_that_is_away_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=127.0.0.1 port=1 user=u password=sesame")
    with pytest.raises(MigrationFailedError, match="Connection refused") as failed:
        handler({}, None)
    assert "sesame" not in str(failed.value)
    assert failed.value.__cause__ is None
