"""Promises of a watched server: every number is the one that PostgreSQL's own views have."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from contracts.batch import Batch, Frame, Mode, Status
from contracts.codec import encode
from contracts.document import DatabaseSettings, Document
from contracts.metrics import CLUSTER, DATABASE, DATABASE_STATS, INDEX_STATS, RELATION, TABLE_STATS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.statistics import flush
from tests.agent.targets.watching import Rows, Watched, agreed, databases, rows_of, truth, watched

WORK = """
    create table plain (id int primary key, name text, big text);
    create index plain_name on plain (name);
    create unlogged table unlogged_one (a int) with (autovacuum_enabled = off, fillfactor = 50);
    create table parted (id int, at int, primary key (id, at)) partition by range (at);
    create table parted_1 partition of parted for values from (0) to (100);
    create schema "other Schema";
    create table "other Schema"."tab\tand\nline" (a int);
    create materialized view matview as select 1 as one;
    create view a_view as select 1;
    create sequence a_sequence;
    create table numbered (id int generated always as identity);
    insert into plain select g, 'name ' || g, repeat(md5(g::text), 2000) from generate_series(1, 500) g;
    insert into parted select g, g from generate_series(0, 99) g;
    alter table plain alter column big set storage external;
    update plain set name = 'renamed' where id <= 100;
    update plain set big = repeat(md5(big), 300) where id <= 10;
    delete from plain where id > 400;
    select sum(length(big)) from plain;
    set enable_seqscan = off;
    select * from plain where id = 7;
    select name from plain where name = 'name 300';
    set enable_indexscan = off;
    set enable_indexonlyscan = off;
    select * from plain where name like 'renamed';
    select * from parted where id = 5;
    reset all;
    refresh materialized view matview;
    select * from matview;
    create temp table of_the_session (a int);
"""

TABLES = """
    select relid, seq_scan, us(last_seq_scan) as last_seq_scan_at, seq_tup_read,
        coalesce(t.idx_tup_fetch - (select sum(i.idx_tup_fetch) from pg_stat_user_indexes i where i.relid = t.relid), 0
            )::bigint as bitmap_tup_fetch,
        n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd, n_tup_newpage_upd, n_live_tup, n_dead_tup,
        n_mod_since_analyze, n_ins_since_vacuum,
        us(last_vacuum) as last_vacuum_at, us(last_autovacuum) as last_autovacuum_at,
        us(last_analyze) as last_analyze_at, us(last_autoanalyze) as last_autoanalyze_at,
        vacuum_count, autovacuum_count, analyze_count, autoanalyze_count,
        (total_vacuum_time * 1000)::bigint as total_vacuum_time_us,
        (total_autovacuum_time * 1000)::bigint as total_autovacuum_time_us,
        (total_analyze_time * 1000)::bigint as total_analyze_time_us,
        (total_autoanalyze_time * 1000)::bigint as total_autoanalyze_time_us,
        coalesce(heap_blks_read, 0) as heap_blks_read, coalesce(heap_blks_hit, 0) as heap_blks_hit,
        toast_blks_read, toast_blks_hit
    from pg_stat_user_tables t left join pg_statio_user_tables using (relid)
    where t.schemaname not like 'pg_temp%'
"""

INDEXES = """
    select indexrelid, idx_scan, us(last_idx_scan) as last_idx_scan_at, idx_tup_read, idx_tup_fetch,
        idx_blks_read, idx_blks_hit
    from pg_stat_user_indexes join pg_statio_user_indexes using (indexrelid)
"""

DATABASES = """
    select datid, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, tup_fetched,
        tup_inserted, tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, deadlocks, checksum_failures,
        pg_temp.us(checksum_last_failure) as checksum_last_failure_at,
        (blk_read_time * 1000)::bigint as blk_read_time_us, (blk_write_time * 1000)::bigint as blk_write_time_us,
        (session_time * 1000)::bigint as session_time_us, (active_time * 1000)::bigint as active_time_us,
        (idle_in_transaction_time * 1000)::bigint as idle_in_transaction_time_us,
        sessions, sessions_abandoned, sessions_fatal, sessions_killed,
        parallel_workers_to_launch, parallel_workers_launched, pg_temp.us(stats_reset) as stats_reset_at
    from pg_stat_database
"""

#: What the views have since 16 and since 18.
NEWER = """
    last_seq_scan timestamptz, last_idx_scan timestamptz, n_tup_newpage_upd bigint,
    total_vacuum_time float8, total_autovacuum_time float8, total_analyze_time float8, total_autoanalyze_time float8,
    parallel_workers_to_launch bigint, parallel_workers_launched bigint
"""

US = """
    create function {}us(timestamptz) returns bigint language sql
    return (extract(epoch from $1) * 1000000)::bigint
"""


@pytest.fixture(scope="module")
def database(server: EmbeddedPostgres) -> Iterator[str]:
    """A database where things happened; a session of it stays, idle, with a temporary table."""
    with databases(server, "truth") as (name,), psycopg.connect(server.dsn(name), autocommit=True) as session:
        session.execute(US.format(""))
        session.execute(WORK)
        session.execute("vacuum plain")
        session.execute("analyze plain")
        flush(session)
        yield name


@pytest.fixture
def reader(server: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def watching(server: EmbeddedPostgres, database: str) -> Iterator[Watched]:
    with watched(server.dsn(database)) as one:
        one.target.apply(Document(databases=DatabaseSettings(include=(database,))))
        yield one


def test_table_stats_are_those_of_the_views(watching: Watched, reader: psycopg.Connection) -> None:
    def read() -> Rows:
        watching.changes.forget()
        return rows_of(watching.frame(TABLE_STATS))

    found = agreed(read, lambda: truth(reader, TABLES, NEWER))
    (oid,) = reader.execute("select 'plain'::regclass::oid::int8").fetchone() or (0,)
    plain = found[oid]
    assert (plain["n_tup_ins"], plain["n_tup_upd"], plain["n_tup_del"]) == (500, 110, 100)
    assert plain["bitmap_tup_fetch"] >= 90
    assert plain["vacuum_count"] == plain["analyze_count"] == 1
    assert plain["toast_blks_hit"] > 0
    assert len(found) == 7


def test_index_stats_are_those_of_the_views_and_partitioned_indexes_have_none(
    watching: Watched, reader: psycopg.Connection
) -> None:
    parents = {oid for (oid,) in reader.execute("select oid::int8 from pg_class where relkind = 'I'")}

    def read() -> Rows:
        watching.changes.forget()
        found = rows_of(watching.frame(INDEX_STATS))
        assert parents <= set(found)
        for parent in parents:
            assert not any(value for name, value in found.pop(parent).items() if name != "indexrelid")
        return found

    found = agreed(read, lambda: truth(reader, INDEXES, NEWER))
    assert len(parents) == 1
    assert sum(row["idx_scan"] for row in found.values()) >= 4


def test_relations_have_their_names_kinds_and_parents(watching: Watched, reader: psycopg.Connection) -> None:
    found = rows_of(watching.frame(RELATION))
    oids = {row["relation_name"]: oid for oid, row in found.items()}
    kinds = {name: found[oid]["kind"] for name, oid in oids.items()}
    assert kinds == {
        "plain": "r", "plain_pkey": "i", "plain_name": "i", "unlogged_one": "r", "parted": "p", "parted_pkey": "I",
        "parted_1": "r", "parted_1_pkey": "i", "tab\tand\nline": "r", "matview": "m", "a_sequence": "S",
        "numbered": "r", "numbered_id_seq": "S",
    }  # fmt: skip
    assert found[oids["tab\tand\nline"]]["schema_name"] == "other Schema"
    assert found[oids["unlogged_one"]]["persistence"] == "u"
    assert found[oids["unlogged_one"]]["options"] == "{autovacuum_enabled=off,fillfactor=50}"
    assert found[oids["parted_1"]]["parent_relid"] == oids["parted"]
    assert found[oids["parted_1_pkey"]]["parent_relid"] == oids["parted_pkey"]
    assert found[oids["plain_name"]]["table_relid"] == oids["plain"]
    assert found[oids["numbered_id_seq"]]["table_relid"] == oids["numbered"]
    assert found[oids["a_sequence"]]["table_relid"] is None
    assert [found[oids[name]]["access_method"] for name in ("plain", "plain_name")] == ["heap", "btree"]
    assert {row["tablespace"] for row in found.values()} == {None}
    assert [found[oids[name]]["is_unique"] for name in ("plain_pkey", "plain_name", "plain")] == [True, False, None]
    assert found[oids["plain_pkey"]]["is_primary"] is True
    assert found[oids["plain_pkey"]]["is_valid"] is True
    assert {row["owner"] for row in found.values()} == {"postgres"}


def test_database_stats_are_those_of_the_view(server: EmbeddedPostgres, database: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as reader, watched(server.dsn()) as watching:
        reader.execute(US.format("pg_temp."))
        (datid,) = reader.execute("select oid::int8 from pg_database where datname = %s", (database,)).fetchone() or (
            0,
        )

        def ours(rows: Rows) -> Rows:
            # What other sessions do changes the other rows between two readings.
            return {key: row for key, row in rows.items() if key == datid}

        def read() -> Rows:
            watching.changes.forget()
            return ours(rows_of(watching.frame(DATABASE_STATS)))

        found = agreed(read, lambda: ours(truth(reader, DATABASES, NEWER)))
        assert found[datid]["tup_inserted"] >= 600
        every = rows_of(watching.collect(DATABASE_STATS).frames[0])
        assert set(every) <= set(truth(reader, DATABASES, NEWER))


def test_databases_and_the_cluster_are_what_they_are(server: EmbeddedPostgres, watching: Watched) -> None:
    with psycopg.connect(server.dsn()) as reader:
        columns = "datname, datistemplate as is_template, datallowconn as allows_connections, datconnlimit"
        expected = truth(reader, f"select oid::int8, {columns} from pg_database")
        (number, started) = reader.execute(
            "select current_setting('server_version_num')::int, pg_postmaster_start_time()"
        ).fetchone() or (0, None)
        (identifier,) = reader.execute("select system_identifier from pg_control_system()").fetchone() or (0,)
    found = rows_of(watching.frame(DATABASE))
    assert {oid: row["datname"] for oid, row in found.items()} == {oid: row["datname"] for oid, row in expected.items()}
    for oid, row in expected.items():
        assert found[oid]["is_template"] == row["is_template"]
        assert found[oid]["allows_connections"] == row["allows_connections"]
        assert found[oid]["connection_limit"] == row["datconnlimit"]
        assert found[oid]["encoding"] == "UTF8"
    frame = watching.frame(CLUSTER)
    cluster = {name: values[0] for name, values in frame.columns.items()}
    assert cluster["system_identifier"] == str(identifier)
    assert cluster["server_version_num"] == number
    assert cluster["port"] == server.port
    assert cluster["data_directory"] == str(server.data)
    assert (cluster["timeline"], cluster["in_recovery"], cluster["cluster_name"]) == (1, False, None)
    assert cluster["started_at"] == round(started.timestamp() * 1_000_000)


def test_a_changed_frame_has_only_what_changed_and_what_is_gone(
    server: EmbeddedPostgres, reader: psycopg.Connection, database: str, watching: Watched
) -> None:
    reader.execute("create table comes (a int); create table goes (a int)")
    oids = {
        str(name): oid
        for name, oid in reader.execute("select relname, oid::int8 from pg_class where relname in ('comes', 'goes')")
    }
    first = watching.frame(TABLE_STATS)
    assert first.mode is Mode.FULL
    until(lambda: not (watching.frame(TABLE_STATS)).rows)  # nothing arrives any more
    reader.execute("insert into comes values (1), (2); drop table goes")
    flush(reader)
    frame = watching.frame(TABLE_STATS)
    assert frame.mode is Mode.CHANGED
    assert frame.epoch == first.epoch
    assert {oid: row["n_tup_ins"] for oid, row in rows_of(frame).items()} == {oids["comes"]: 2}
    assert frame.gone == {"relid": [oids["goes"]]}
    # A run counts what was read, not what travels.
    run = watching.run(TABLE_STATS)
    assert (run.status, run.rows) == (Status.OK, 8)
    reader.execute("drop table comes")


def test_a_changed_frame_of_one_in_a_hundred_tables_takes_less_than_a_fifth_of_a_full_one(
    watching: Watched, reader: psycopg.Connection
) -> None:
    reader.execute(
        "do $$ begin for i in 1..1000 loop execute format('create table many_%s as select 1 as a', i); end loop; end $$"
    )
    flush(reader)
    full = watching.frame(TABLE_STATS)
    reader.execute(";".join(f"insert into many_{i} values (2)" for i in range(1, 11)).encode())
    flush(reader)
    changed = watching.frame(TABLE_STATS)
    assert (full.mode, changed.mode) == (Mode.FULL, Mode.CHANGED)
    assert full.rows == 1000
    assert 10 <= changed.rows <= 15
    assert 5 * _sent(changed) < _sent(full)


def _sent(frame: Frame) -> int:
    """Bytes that a batch with this frame takes on the wire, less those of a batch without any."""
    batch = Batch(agent_id="a", stream_id=uuid4(), seq=0, sent_at=1, agent_version="1")
    return len(encode(batch.model_copy(update={"frames": (frame,)}))) - len(encode(batch))
