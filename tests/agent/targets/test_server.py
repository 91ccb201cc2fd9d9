"""What the agent reads of a server is what the server's own views say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.outbox import Contents, Outbox
from agent.postgres.session import Session
from agent.settings import TargetSettings
from agent.targets.server import ServerTarget
from contracts.batch import Frame, Mode, Status
from contracts.document import DatabaseSettings, Document
from infra.standalone.embedded import EmbeddedPostgres

_numbers = itertools.count(1)


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    name = f"watched_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        with psycopg.connect(server.dsn(name), autocommit=True) as worked:
            worked.execute(
                """
                create table t (id int primary key, name text);
                create materialized view m as select 1 as one;
                insert into t select i, repeat(md5(i::text), 200) from generate_series(1, 500) i;
                update t set name = 'x' where id <= 100;
                delete from t where id > 450;
                """
            )
            worked.execute("vacuum analyze t")
            worked.execute("set enable_seqscan = off")
            worked.execute("select * from t where id = 7")
        yield name
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def target(server: EmbeddedPostgres, database: str, outbox: Outbox) -> Iterator[ServerTarget]:
    opened = ServerTarget(TargetSettings(name="main", dsn=server.dsn()), Changes(), outbox, None)
    opened.apply(Document(databases=DatabaseSettings(include=(database,))))
    yield opened
    opened.close()


def collect(target: ServerTarget, outbox: Outbox, *names: str) -> Contents:
    for collector in COLLECTORS:
        if isinstance(collector, Query) and (not names or collector.metric.name in names):
            target.collect(collector)
    return outbox.take()


def by_key(frame: Frame, key: str) -> dict[Any, dict[str, Any]]:
    rows = [dict(zip(frame.columns, row, strict=True)) for row in zip(*frame.columns.values(), strict=True)]
    return {row[key]: row for row in rows}


def ask(server: EmbeddedPostgres, database: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.dsn(database)) as connection:
        return connection.execute(query.encode()).fetchall()


def test_every_query_answers_what_its_metric_declares(target: ServerTarget, outbox: Outbox) -> None:
    contents = collect(target, outbox)
    assert {(run.status, run.detail) for run in contents.runs} == {(Status.OK, None)}
    for frame in contents.frames:
        Frame.model_validate(frame.model_dump())


def test_tables_and_indexes_are_what_the_views_say(
    server: EmbeddedPostgres, database: str, target: ServerTarget, outbox: Outbox
) -> None:
    tables, indexes = collect(target, outbox, "table_stats", "index_stats").frames
    expected = ask(
        server,
        database,
        """
        select s.relid, s.seq_scan, s.n_tup_ins, s.n_tup_upd, s.n_tup_del, s.n_live_tup, s.n_dead_tup, s.vacuum_count,
            s.analyze_count, i.heap_blks_read + i.heap_blks_hit, i.toast_blks_read + i.toast_blks_hit,
            (extract(epoch from s.last_vacuum) * 1000000)::bigint
        from pg_stat_user_tables s join pg_statio_user_tables i using (relid)
        """,
    )
    found = by_key(tables, "relid")
    assert len(expected) == len(found) == 2
    for relid, *values in expected:
        row = found[relid]
        names = ("seq_scan", "n_tup_ins", "n_tup_upd", "n_tup_del", "n_live_tup", "n_dead_tup")
        counts = ("vacuum_count", "analyze_count")
        heap = row["heap_blks_read"] + row["heap_blks_hit"]
        toast = None if row["toast_blks_hit"] is None else row["toast_blks_read"] + row["toast_blks_hit"]
        assert [*(row[name] for name in (*names, *counts)), heap, toast, row["last_vacuum_at"]] == values
    assert sorted(row["n_tup_ins"] for row in found.values()) == [1, 500]
    scans = ask(server, database, "select indexrelid, idx_scan, idx_tup_read, idx_tup_fetch from pg_stat_user_indexes")
    rows = by_key(indexes, "indexrelid")
    assert [(key, row["idx_scan"], row["idx_tup_read"], row["idx_tup_fetch"]) for key, row in rows.items()] == scans


def test_databases_and_relations_are_what_the_catalogs_say(
    server: EmbeddedPostgres, database: str, target: ServerTarget, outbox: Outbox
) -> None:
    frames = {frame.metric: frame for frame in collect(target, outbox).frames}
    names = {row["datid"]: row["datname"] for row in by_key(frames["database"], "datid").values()}
    (datid,) = [oid for oid, name in names.items() if name == database]
    # Its sessions have ended and nobody works in it, so the figures stand still.
    ((inserted, deadlocks),) = ask(
        server, "postgres", f"select tup_inserted, deadlocks from pg_stat_database where datname = '{database}'"
    )
    row = by_key(frames["database_stats"], "datid")[datid]
    assert (row["tup_inserted"], row["deadlocks"]) == (inserted, deadlocks)
    relations = by_key(frames["relation"], "relid")
    assert {row["relation_name"]: row["kind"] for row in relations.values()} == {"t": "r", "m": "m", "t_pkey": "i"}


def test_a_second_reading_has_only_what_changed(
    server: EmbeddedPostgres, database: str, target: ServerTarget, outbox: Outbox
) -> None:
    collect(target, outbox, "table_stats")
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        connection.execute("insert into t values (1000, 'y')")
    (frame,) = collect(target, outbox, "table_stats").frames
    assert (frame.mode, frame.rows) == (Mode.CHANGED, 1)


def test_a_reset_begins_another_epoch_in_full(
    server: EmbeddedPostgres, database: str, target: ServerTarget, outbox: Outbox
) -> None:
    (before,) = collect(target, outbox, "table_stats").frames
    ask(server, database, "select pg_stat_reset()")
    (after,) = collect(target, outbox, "table_stats").frames
    assert after.mode is Mode.FULL
    assert before.epoch != after.epoch


def test_two_connections_are_enough_for_many_databases(
    server: EmbeddedPostgres, target: ServerTarget, outbox: Outbox, database: str
) -> None:
    target.apply(Document(databases=DatabaseSettings(include=("*",))))
    runs = [run for run in collect(target, outbox).runs if run.collector == "table_stats"]
    assert len(runs) >= 2
    ((sessions,),) = ask(
        server, "postgres", "select count(*) from pg_stat_activity where application_name = 'pganalytics-agent'"
    )
    assert sessions <= 2


def test_a_server_that_is_away_gives_runs_that_say_so_and_no_figures(outbox: Outbox) -> None:
    target = ServerTarget(TargetSettings(name="main", dsn="host=/nowhere"), Changes(), outbox, None)
    contents = collect(target, outbox)
    assert contents.frames == ()
    assert {run.status for run in contents.runs} == {Status.ERROR}
    assert len(contents.runs) == 6


def test_every_session_is_cheap_and_harmless(server: EmbeddedPostgres) -> None:
    session = Session(server.dsn())
    session.use()
    assert session._connection is not None
    expected = {
        "application_name": "pganalytics-agent",
        "default_transaction_read_only": "on",
        "search_path": "pg_catalog",
        "statement_timeout": "5s",
        "lock_timeout": "100ms",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "timezone": "UTC",
    }
    for name, value in expected.items():
        assert session._connection.execute(f"show {name}").fetchone() == (value,)
    session.close()


def test_a_missing_right_is_a_permission_run_that_is_not_asked_again(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create role plain login; create table secret (a int)")
    session = Session(server.dsn(user="plain"))
    session.use()
    asked: list[str] = []

    def query(name: str, _: int) -> str:
        asked.append(name)
        return "copy (select * from public.secret) to stdout"

    monkeypatch.setattr("agent.postgres.session.query", query)
    for _ in range(2):
        with pytest.raises(Exception, match="grant pg_monitor") as refused:
            session.lines("table_stats")
        assert getattr(refused.value, "status", None) is Status.PERMISSION
    assert len(asked) == 1
    session.close()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("drop role plain; drop table secret")
