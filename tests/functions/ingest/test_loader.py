from __future__ import annotations

from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from contracts.batch import Batch, Config, ConfigState
from contracts.metrics import METRICS
from contracts.names import target_id
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import handler, object_keys, take
from functions.retention import Retention
from functions.store import Connection, Store
from tests.functions.batches import AGENT, DAY_US, MINUTE_US, SERVER, batch, frame, now_us, packed, run
from tests.functions.events import messages, notification

STREAM = UUID("8d0a4c1e-0000-4000-8000-000000000001")

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.fixture
def bucket(bucket_folder: Path) -> DirectoryBucket:
    return DirectoryBucket(bucket_folder)


def _put(bucket: DirectoryBucket, of: Batch) -> str:
    key, data = packed(of)
    bucket.create(key, data)
    return key


def _deliver(*keys: str) -> list[str]:
    """Deliver one message for each key; the messages that failed."""
    answer = handler(messages(*(notification(key) for key in keys)), None)
    return [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]


def _one(connection: Connection, query: Any) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def _counts(connection: Connection) -> dict[str, int]:
    tables = [f"metric.{metric.name}" for metric in METRICS]
    tables += [
        "store.ledger",
        "store.agent",
        "store.target",
        "store.runs",
        "store.frames",
        "store.gaps",
        "store.quarantine",
    ]
    return {table: _one(connection, f"select count(*) from {table}") for table in tables}


def test_every_metric_arrives_as_it_was_sent(bucket: DirectoryBucket, connection: Connection) -> None:
    at = now_us()
    assert _deliver(_put(bucket, batch(sent_at=at))) == []
    found = _counts(connection)
    assert found == {
        **{f"metric.{metric.name}": 3 if metric.key else 1 for metric in METRICS},
        "store.ledger": 1,
        "store.agent": 1,
        "store.target": 2,
        "store.runs": 2,
        "store.frames": 2,
        "store.gaps": 0,
        "store.quarantine": 0,
    }
    row = _one(
        connection,
        """
        select target_id, (extract(epoch from collected_at) * 1000000)::bigint, datid, epoch, gone, relid, seq_scan,
            (extract(epoch from last_vacuum_at) * 1000000)::bigint
        from metric.table_stats order by relid desc limit 1
        """,
    )
    assert row == (target_id(AGENT, SERVER), at - 1000, 16384, 7, False, 16386, 2000, 1_700_000_000_000_002)
    assert _one(connection, "select hostname, cpus from metric.host") == ("hostname 0 é", 0)
    assert _one(connection, "select count(*) from store.run where status = 'ok'") == len(METRICS)


def test_a_batch_delivered_twice_is_stored_once(bucket: DirectoryBucket, connection: Connection) -> None:
    key = _put(bucket, batch())
    assert _deliver(key, key) == []
    once = _counts(connection)
    assert _deliver(key) == []
    assert _counts(connection) == once
    assert once["store.ledger"] == 1


def test_two_agents_of_one_identity_are_found_out(bucket: DirectoryBucket, connection: Connection) -> None:
    first = _put(bucket, batch(stream_id=STREAM, frames=[]))
    clone = _put(bucket, batch(stream_id=STREAM, frames=[frame("host", now_us())]))
    assert _deliver(first, clone) == []
    assert _one(connection, "select object_key from store.quarantine") == clone
    assert "two agents share the identity 'agent-1'" in _one(connection, "select reason from store.quarantine")
    assert _one(connection, "select count(*) from metric.host") == 0


def test_poison_does_not_hold_its_neighbours(bucket: DirectoryBucket, connection: Connection) -> None:
    good = [_put(bucket, batch(seq)) for seq in range(2)]
    poison, data = packed(batch())
    bucket.create(poison, data[:-20])
    assert _deliver(good[0], poison, good[1]) == []
    assert _one(connection, "select count(*) from store.ledger") == 2
    assert _one(connection, "select agent_id, reason from store.quarantine") == (
        AGENT,
        "not gzip: the data ends too early",
    )


def test_a_batch_that_the_store_refuses_does_not_hold_those_it_came_with(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    now = now_us()
    connection.execute(
        f"alter table metric.host_load add check (extract(epoch from collected_at) * 1000000 <> {now - MINUTE_US})"
    )
    at_fault = batch(frames=[frame("host_load", now), frame("host_load", now - MINUTE_US)])
    good = [_put(bucket, batch(seq, frames=[frame("host_load", now)])) for seq in range(2)]
    poison = _put(bucket, at_fault)
    assert _deliver(good[0], poison, good[1]) == []
    assert _counts(connection)["metric.host_load"] == _counts(connection)["store.ledger"] == 2
    object_key, reason = _one(connection, "select object_key, reason from store.quarantine")
    assert object_key == poison
    assert "violates check constraint" in reason


def test_what_comes_together_goes_in_by_one_copy_a_metric(bucket: DirectoryBucket, connection: Connection) -> None:
    now = now_us()
    keys = [_put(bucket, batch(seq, frames=[frame("host_load", now, seq)] * 3)) for seq in range(4)]
    connection.execute(
        """
        create table copied (statements integer);
        create function count_copy() returns trigger language plpgsql as
            $$ begin insert into copied values (1); return null; end $$;
        create trigger count_copy after insert on metric.host_load for each statement execute function count_copy();
        """
    )
    assert _deliver(*keys) == []
    assert _one(connection, "select count(*) from metric.host_load") == 12
    assert _one(connection, "select count(*) from copied") == 1


def test_while_one_object_is_read_so_are_others(bucket_folder: Path, bucket: DirectoryBucket, store: Store) -> None:
    keys = [_put(bucket, batch(seq)) for seq in range(4)]
    all_of_them = Barrier(len(keys), timeout=10)

    class Slow(DirectoryBucket):
        def read(self, key: str, at_most: int) -> bytes:
            all_of_them.wait()
            return super().read(key, at_most)

    assert take(keys, Slow(bucket_folder), store, Retention(30)) == {}


def test_a_batch_under_a_strange_key_goes_to_quarantine(bucket: DirectoryBucket, connection: Connection) -> None:
    _, data = packed(batch())
    other, _ = packed(batch(agent_id="agent-2"))
    bucket.create(other, data)
    bucket.create("batches/v1/strange", data)
    assert _deliver(other, "batches/v1/strange") == []
    assert _counts(connection)["store.quarantine"] == 2
    assert _counts(connection)["store.ledger"] == 0


def test_only_the_message_that_failed_comes_again(bucket: DirectoryBucket, connection: Connection) -> None:
    there, missing = _put(bucket, batch(0)), packed(batch(1))[0]
    assert _deliver(missing, there) == ["m0"]
    assert _one(connection, "select count(*) from store.ledger") == 1


def test_a_store_that_is_down_is_a_failure_and_nothing_is_lost(
    bucket: DirectoryBucket, monkeypatch: pytest.MonkeyPatch, connection: Connection
) -> None:
    key = _put(bucket, batch())
    with monkeypatch.context() as down:
        down.setenv("PGANALYTICS_STORE_DSN", "host=127.0.0.1 port=1 dbname=none")
        assert _deliver(key, key) == ["m0", "m1"]
    assert set(_counts(connection).values()) == {0}
    assert bucket.read(key, 10**7)


def test_a_connection_that_broke_is_made_anew(bucket: DirectoryBucket, connection: Connection) -> None:
    assert _deliver(_put(bucket, batch(0))) == []
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pganalytics ingest'"
    )
    assert _deliver(_put(bucket, batch(1))) == []


def test_a_frame_beyond_the_retention_becomes_a_gap(bucket: DirectoryBucket, connection: Connection) -> None:
    now = now_us()
    frames = [frame("host_load", now - 31 * DAY_US), frame("host_load", now - MINUTE_US)]
    assert _deliver(_put(bucket, batch(sent_at=now, frames=frames))) == []
    assert _one(connection, "select count(*) from metric.host_load") == 1
    assert _one(connection, "select reason from store.gaps") == "retention"
    assert _one(connection, "select cardinality(metric) from store.frames") == 1


def test_a_batch_closed_before_the_retention_leaves_a_gap_and_makes_no_old_partitions(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    sent_at = now_us() - 400 * DAY_US
    assert _deliver(_put(bucket, batch(sent_at=sent_at))) == []
    found = _counts(connection)
    assert (found["store.ledger"], found["store.gaps"], found["store.runs"], found["metric.host_cpu"]) == (1, 1, 0, 0)
    assert (
        _one(
            connection,
            "select count(distinct right(relname, 8)) from pg_class "
            "where relnamespace = 'partition'::regnamespace and relkind = 'r'",
        )
        == 1
    )


def test_frames_of_several_days_find_partitions(bucket: DirectoryBucket, connection: Connection) -> None:
    now = now_us()
    frames = [frame("host_load", now - days * DAY_US) for days in range(4)]
    assert _deliver(_put(bucket, batch(sent_at=now, frames=frames))) == []
    assert _one(connection, "select count(*) from metric.host_load") == 4
    assert _counts(connection)["store.quarantine"] == 0


def test_a_frame_from_after_its_batch_goes_to_quarantine(bucket: DirectoryBucket, connection: Connection) -> None:
    now = now_us()
    assert _deliver(_put(bucket, batch(sent_at=now, frames=[frame("host_load", now + DAY_US)]))) == []
    assert "collected_at" in _one(connection, "select reason from store.quarantine")


def test_an_older_batch_that_comes_late_does_not_turn_the_agent_back(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    now = now_us()
    for seq, sent_at in ((1, now), (0, now - MINUTE_US)):
        _deliver(_put(bucket, batch(seq, sent_at=sent_at, stream_id=STREAM)))
    last = _one(connection, "select (extract(epoch from last_seen_at) * 1000000)::bigint from store.agent")
    assert last == now


def test_a_batch_that_only_tells_of_its_configuration_is_stored(
    bucket: DirectoryBucket, connection: Connection
) -> None:
    refused = Config(version=3, etag='"4-x"', state=ConfigState.REJECTED, reason="preset: there is no such one")
    of = batch(frames=(), runs=()).model_copy(update={"config": refused})
    assert _deliver(_put(bucket, of)) == []
    row = _one(connection, "select config_version, config_etag, config_state, config_reason from store.agent")
    assert row == (3, '"4-x"', "rejected", "preset: there is no such one")


def test_a_run_without_a_frame_is_stored(bucket: DirectoryBucket, connection: Connection) -> None:
    failed = batch(frames=[], runs=[run("table_stats", now_us(), detail="no")])
    assert _deliver(_put(bucket, failed)) == []
    assert _one(connection, "select collector, detail from store.run") == ("table_stats", "no")


@pytest.mark.parametrize("body", ['{"Service":"Amazon S3","Event":"s3:TestEvent"}', notification("other/object")])
def test_messages_about_nothing_of_ours_are_done_with(body: str, connection: Connection) -> None:
    assert handler(messages(body), None) == {"batchItemFailures": []}
    assert set(_counts(connection).values()) == {0}


def test_a_key_comes_back_as_it_was_written() -> None:
    key = packed(batch())[0]
    assert list(object_keys(notification(key))) == [key]
