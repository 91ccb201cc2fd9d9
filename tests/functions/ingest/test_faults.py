"""The store's fault is tried again and quarantines nothing; a batch's own fault costs no other batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from contracts.objects import BatchKey
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import handler
from functions.store import Connection
from tests.functions.batches import AGENT, batch, frame, now_us, packed
from tests.functions.events import messages, notification

STREAM = UUID("8d0a4c1e-0000-4000-8000-000000000003")

pytestmark = pytest.mark.usefixtures("deployed")

#: Faults of the store that no test can bring about in a moment, by their SQLSTATE.
_RAISED = {
    "serialization failure": "40001",
    "deadlock": "40P01",
    "lock timeout": "55P03",
    "statement timeout": "57014",
    "shutdown": "57P01",
    "too many connections": "53300",
    "out of memory": "53200",
    "disk full": "53100",
    "I/O error": "58030",
    "configuration limit": "53400",
    "read only": "25006",
    "corrupted index": "XX002",
    "not supported": "0A000",
}

#: Faults of the store that are really so: what breaks it, and what mends it.
_BROKEN = {
    "a table is missing": (
        "alter table metric.host_load rename to gone",
        "alter table metric.gone rename to host_load",
    ),
    "a column is missing": (
        "alter table metric.host_load rename threads to gone",
        "alter table metric.host_load rename gone to threads",
    ),
    "the ledger is missing": ("alter table store.ledger rename to gone", "alter table store.gone rename to ledger"),
    "read only": (
        "alter database {} set default_transaction_read_only = on",
        "alter database {} reset default_transaction_read_only",
    ),
    "no right": ("alter role postgres set role to pg_monitor", "alter role postgres reset role"),
}


@pytest.fixture
def bucket(bucket_folder: Path) -> DirectoryBucket:
    return DirectoryBucket(bucket_folder)


def _put(bucket: DirectoryBucket, seq: int, **more: Any) -> str:
    key, data = packed(batch(seq, stream_id=STREAM, frames=[frame("host_load", now_us(), seq)], **more))
    bucket.create(key, data)
    return key


def _deliver(*keys: str) -> list[str]:
    answer = handler(messages(*(notification(key) for key in keys)), None)
    return [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]


def _all(connection: Connection, query: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _stored(connection: Connection) -> tuple[int, ...]:
    (row,) = _all(
        connection,
        """
        select (select count(*) from store.ledger), (select count(*) from metric.host_load),
            (select count(*) from store.runs), (select count(*) from store.quarantine)
        """,
    )
    return row


@pytest.mark.parametrize("sqlstate", _RAISED.values(), ids=_RAISED)
def test_a_fault_of_the_store_is_tried_again(sqlstate: str, bucket: DirectoryBucket, connection: Connection) -> None:
    connection.execute(
        f"""
        create function fail() returns trigger language plpgsql as
            $$ begin raise exception 'broken' using errcode = '{sqlstate}'; end $$;
        create trigger fail before insert on metric.host_load for each row execute function fail();
        """
    )
    keys = [_put(bucket, seq) for seq in range(3)]
    assert _deliver(*keys) == ["m0", "m1", "m2"]
    assert _stored(connection) == (0, 0, 0, 0)
    connection.execute("drop function fail() cascade")
    assert _deliver(*keys) == []
    assert _stored(connection) == (3, 3, 3, 0)


@pytest.mark.parametrize(("broken", "mended"), _BROKEN.values(), ids=_BROKEN)
def test_a_store_that_is_not_as_it_should_be_is_tried_again(
    broken: str, mended: str, bucket: DirectoryBucket, connection: Connection
) -> None:
    keys = [_put(bucket, seq) for seq in range(2)]
    name = connection.info.dbname
    connection.execute(broken.format(name).encode())
    try:
        failed = _deliver(*keys)
    finally:
        connection.execute(mended.format(name).encode())
    assert failed == ["m0", "m1"]
    assert _stored(connection) == (0, 0, 0, 0)
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pganalytics ingest'"
        " and datname = current_database()"
    )
    assert _deliver(*keys) == []
    assert _stored(connection) == (2, 2, 2, 0)


def test_one_of_ten_at_fault_costs_no_other(bucket: DirectoryBucket, connection: Connection) -> None:
    keys = [_put(bucket, seq) for seq in range(10)]
    poison = next(path for path in bucket_files(bucket) if str(path).endswith(keys[4]))
    poison.write_bytes(b"poison")
    missing = next(path for path in bucket_files(bucket) if str(path).endswith(keys[7]))
    missing.unlink()
    assert _deliver(*keys) == ["m7"]
    assert _stored(connection) == (8, 8, 8, 1)
    assert _all(connection, "select object_key, seq from store.quarantine") == [(keys[4], 4)]


def bucket_files(bucket: DirectoryBucket) -> list[Path]:
    return list(bucket._root.rglob("*.json.gz"))


def test_what_is_quarantined_does_not_hold_its_place(bucket: DirectoryBucket, connection: Connection) -> None:
    key, data = packed(batch(0, stream_id=STREAM, frames=[frame("host_load", now_us())]))
    place = BatchKey(AGENT, "2026-01-01", STREAM, 0, "f" * 16)
    bucket.create(str(place), b"somebody else's")
    assert _deliver(str(place)) == []
    bucket.create(key, data)
    assert _deliver(key) == []
    states = _all(connection, "select state, object_key, agent_id, stream_id, seq from store.place order by state")
    assert states == [
        ("loaded", key, AGENT, STREAM, 0),
        ("quarantined", str(place), AGENT, STREAM, 0),
    ]


def test_what_was_quarantined_is_loaded_when_its_reason_is_gone(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    connection.execute("alter table metric.host_load add constraint broken check (threads < 0) not valid")
    key = _put(bucket, 0)
    assert _deliver(key) == []
    assert _stored(connection) == (0, 0, 0, 1)
    connection.execute("alter table metric.host_load drop constraint broken")
    assert _deliver(key) == []
    assert _stored(connection)[:3] == (1, 1, 1)


def test_a_clone_is_in_quarantine_with_its_reason_and_the_first_keeps_its_place(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    first, clone = _put(bucket, 0), _put(bucket, 0, sent_at=now_us() - 1000)
    assert first != clone
    assert _deliver(first) == []
    assert _deliver(clone) == []
    assert _deliver(clone, first) == []
    assert _stored(connection) == (1, 1, 1, 1)
    assert _all(connection, "select state, object_key, split_part(reason, ':', 1) from store.place order by state") == [
        ("loaded", first, None),
        ("quarantined", clone, f"another batch stands at seq 0 of stream {STREAM}"),
    ]


def test_a_partition_that_is_dropped_under_a_batch_is_no_fault_of_the_batch(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    # As if maintenance dropped it between its making and the copy: for this day none is ever made.
    connection.execute(
        """
        alter function store.make_partitions(date, text[]) rename to made_partitions;
        create function store.make_partitions(date, text[]) returns integer language sql as 'select 0';
        """
    )
    key = _put(bucket, 0)
    assert _deliver(key) == ["m0"]
    assert _stored(connection) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "name",
    ["batches/v1/a\0b", "batches/v1/\ud800", "batches/v1/" + "x" * 5000, "batches/v1/../v1/x", "batches/v1/"],
    ids=["NUL", "surrogate", "long", "upwards", "prefix"],
)
def test_a_key_that_cannot_be_stored_holds_up_nobody(
    name: str, bucket: DirectoryBucket, connection: Connection
) -> None:
    good = _put(bucket, 0)
    told = json.dumps({"Records": [{"s3": {"object": {"key": name}}}]})
    assert handler(messages(told, notification(good)), None) == {"batchItemFailures": []}
    assert _stored(connection) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, "", "null", "[]", "1", '{"Records": 1}', '{"Records": [1]}', '{"Records": [{"s3": null}]}', "\x00"],
    ids=lambda body: body[:20],
)
def test_a_message_that_is_no_notification_holds_up_nobody(
    body: str, bucket: DirectoryBucket, connection: Connection
) -> None:
    good = _put(bucket, 0)
    assert handler(messages(body, notification(good)), None) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert _stored(connection) == (1, 1, 1, 0)


def test_a_store_that_stops_under_the_loader_is_tried_again(bucket: DirectoryBucket, connection: Connection) -> None:
    keys = [_put(bucket, seq) for seq in range(2)]
    connection.execute(
        """
        create function die() returns trigger language plpgsql as
            $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
        create trigger die before insert on store.ledger for each row execute function die();
        """
    )
    assert _deliver(*keys) == ["m0", "m1"]
    connection.execute("drop function die() cascade")
    assert _deliver(*keys) == []
    assert _stored(connection) == (2, 2, 2, 0)


def test_a_connection_that_is_refused_is_tried_again(
    bucket: DirectoryBucket, store_dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _put(bucket, 0)
    with psycopg.connect(store_dsn, autocommit=True) as admin:
        role = f"poor_{admin.info.backend_pid}"
        admin.execute(f"create role {role} login connection limit 0".encode())
    with monkeypatch.context() as poor:
        poor.setenv("PGANALYTICS_STORE_DSN", store_dsn.replace("user=postgres", f"user={role}"))
        assert _deliver(key) == ["m0"]
    connection.execute(f"drop role {role}".encode())
    assert _stored(connection) == (0, 0, 0, 0)
