"""Promises of sequences: how far each has come, and nothing read as unused that could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from contracts.batch import Frame, Status
from contracts.document import DatabaseSettings, Document
from contracts.metrics import SEQUENCE
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.targets.watching import Watched, databases, rows_of, watched

WORK = """
    create sequence unused;
    create sequence short maxvalue 10 cycle;
    create sequence downwards increment -1 minvalue -100 maxvalue -1;
    create sequence in_tens increment 10 minvalue 1 maxvalue 1000;
    create sequence wide;
    create table narrow (id smallint default nextval('wide'));
    alter sequence wide owned by narrow.id;
    create table numbered (id int generated always as identity);
    create temp table of_the_session (id serial);
    select nextval('short') from generate_series(1, 10);
    select nextval('downwards') from generate_series(1, 50);
    select nextval('in_tens') from generate_series(1, 5);
    select setval('wide', 32767);
    insert into numbered default values;
"""


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    with databases(server, "sequences") as (name,), psycopg.connect(server.dsn(name), autocommit=True) as admin:
        admin.execute(WORK)
        yield name


@pytest.fixture
def reader(server: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        yield connection


def at(server: EmbeddedPostgres, database: str, watching: Watched) -> Watched:
    watching.target.apply(Document(databases=DatabaseSettings(include=(database,))))
    return watching


def named(frame: Frame, reader: psycopg.Connection) -> dict[str, dict[str, Any]]:
    names: dict[int, str] = dict(
        reader.execute("select oid::int8, relname from pg_class where relkind = 'S'").fetchall()
    )
    return {names[oid]: row for oid, row in rows_of(frame).items()}


def test_every_sequence_says_how_far_it_has_come(
    server: EmbeddedPostgres, database: str, reader: psycopg.Connection
) -> None:
    with watched(server.dsn(database)) as watching:
        found = named(at(server, database, watching).frame(SEQUENCE), reader)
    expected = reader.execute(
        "select sequencename, data_type::text, last_value, min_value, max_value, increment_by, cycle from pg_sequences"
    ).fetchall()
    columns = ("data_type", "last_value", "min_value", "max_value", "increment", "cycles")
    assert {name: tuple(row[column] for column in columns) for name, row in found.items()} == {
        name: tuple(rest) for name, *rest in expected
    }
    assert {name: row["used_share"] for name, row in found.items() if name != "numbered_id_seq"} == {
        "unused": 0, "short": 1, "downwards": 0.5, "in_tens": 0.041, "wide": 1,
    }  # fmt: skip
    assert found["wide"]["max_value"] > found["wide"]["column_max_value"] == 32767
    assert found["numbered_id_seq"]["column_max_value"] == 2**31 - 1
    assert found["unused"]["last_value"] is found["unused"]["column_max_value"] is None
    assert all(row["is_readable"] for row in found.values())


def test_without_the_right_a_sequence_is_withheld_and_the_run_names_the_grant(
    server: EmbeddedPostgres, database: str, reader: psycopg.Connection
) -> None:
    role = sql.Identifier(f"{database}_agent")
    reader.execute(sql.SQL("create role {0} login; grant pg_monitor to {0}").format(role))
    try:
        with watched(server.dsn(database, user=f"{database}_agent")) as watching:
            contents = at(server, database, watching).collect(SEQUENCE)
            (run,) = contents.runs
            assert (run.status, run.rows, run.rows_available) == (Status.PERMISSION, 0, 6)
            assert run.detail == "6 of 6 are withheld; grant select on the sequences to the agent's role"
            withheld = named(contents.frames[0], reader)
            assert {(row["last_value"], row["used_share"]) for row in withheld.values()} == {(None, None)}
            assert not any(row["is_readable"] for row in withheld.values())
            assert withheld["short"]["max_value"] == 10
            reader.execute(sql.SQL("grant select on sequence short, unused to {}").format(role))
            contents = watching.collect(SEQUENCE)
            assert contents.runs[0].detail == "4 of 6 are withheld; grant select on the sequences to the agent's role"
            changed = named(contents.frames[0], reader)
            assert {name: (row["last_value"], row["is_readable"]) for name, row in changed.items()} == {
                "short": (10, True), "unused": (None, True),
            }  # fmt: skip
            reader.execute(sql.SQL("grant select on all sequences in schema public to {}").format(role))
            assert watching.run(SEQUENCE).status is Status.OK
    finally:
        reader.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))


def test_a_sequence_that_is_being_altered_is_not_waited_for(
    server: EmbeddedPostgres, database: str, reader: psycopg.Connection
) -> None:
    with psycopg.connect(server.dsn(database)) as alters, watched(server.dsn(database)) as watching:
        alters.execute("alter sequence short increment 2")
        contents = at(server, database, watching).collect(SEQUENCE)
        alters.rollback()
    (run,) = contents.runs
    assert (run.status, run.rows, run.rows_available) == (Status.LOCKED, 5, 6)
    found = named(contents.frames[0], reader)
    assert (found["short"]["is_readable"], found["short"]["last_value"]) == (None, None)
    assert found["in_tens"]["last_value"] == 41
