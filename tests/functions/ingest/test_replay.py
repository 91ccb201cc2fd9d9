"""Whatever is in the bucket can be loaded again, with the same result."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from contracts.batch import Batch
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import take
from functions.ingest.records import instant
from functions.ingest.replay import (
    SchemaMissingError,
    Summary,
    Wanted,
    check,
    count,
    count_quarantined,
    find,
    find_quarantined,
    rehearse,
    replay,
)
from functions.retention import Retention
from functions.store import Connection, Store
from infra.standalone.embedded import EmbeddedPostgres
from tests.functions.batches import DAY_US, MINUTE_US, batch, frame, now_us, packed
from tests.functions.ingest.stores import contents, fleet

STREAM = UUID("8d0a4c1e-0000-4000-8000-000000000001")


@pytest.fixture
def bucket(bucket_folder: Path) -> DirectoryBucket:
    return DirectoryBucket(bucket_folder)


@pytest.fixture
def empty(server: EmbeddedPostgres, store_template: str) -> Iterator[Store]:
    """Another store, in which nothing is yet."""
    name = "another_store"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {store_template}")
        opened = Store(SecretStr(server.dsn(name)), "tests")
        yield opened
        opened.close()
        connection.execute(f"drop database {name} with (force)")


def put(bucket: DirectoryBucket, of: Batch) -> str:
    key, data = packed(of)
    bucket.create(key, data)
    return key


def whole(told: Iterator[Summary]) -> Summary:
    """The last that was told."""
    last = Summary()
    for last in told:
        assert last.objects == last.new + last.already + last.quarantined + last.failed
    return last


@pytest.mark.parametrize("seed", range(3))
def test_an_empty_store_becomes_what_the_first_one_is(
    seed: int, bucket: DirectoryBucket, store: Store, empty: Store
) -> None:
    chance = random.Random(seed)
    sent = list(fleet(chance, now_us()))
    keys = [put(bucket, each) for each in sent]
    poison, data = packed(batch(agent_id="db-1"))
    bucket.create(poison, data[:-20])
    arriving = [*keys, poison, *chance.sample(keys, 5)]
    chance.shuffle(arriving)
    while arriving:
        some = [arriving.pop() for _ in range(min(len(arriving), chance.randrange(1, 8)))]
        assert take(some, bucket, store, Retention(30)) == {}
    loaded = contents(store)
    assert loaded["store.ledger"][0] == len(sent)
    assert loaded["store.gaps"][0] > 0
    assert loaded["store.quarantine"][0] == 1

    done = whole(replay(find(bucket, Wanted()), bucket, empty, Retention(30)))
    assert contents(empty) == loaded
    assert (done.new, done.already, done.quarantined, done.failed) == (len(sent), 0, 1, 0)
    assert done.rows == sum(each.rows for each in sent)
    assert done.beyond_retention == 0
    assert done.problems == ((poison, "not gzip: the data ends too early"),)

    again = whole(replay(find(bucket, Wanted()), bucket, store, Retention(30)))
    assert contents(store) == loaded
    assert (again.new, again.already, again.rows) == (0, len(sent), 0)


def test_a_replay_that_was_stopped_is_finished_by_another(
    bucket: DirectoryBucket, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.ingest.replay._CHUNK", 2)
    for seq in range(5):
        put(bucket, batch(seq, frames=[frame("host_load", now_us())]))
    stopped = next(replay(find(bucket, Wanted()), bucket, store, Retention(30)))
    assert (stopped.objects, stopped.new) == (2, 2)
    rest = whole(replay(find(bucket, Wanted()), bucket, store, Retention(30)))
    assert (rest.new, rest.already) == (3, 2)


def test_only_the_agents_that_are_named(bucket: DirectoryBucket) -> None:
    keys = [put(bucket, batch(agent_id=agent, frames=[])) for agent in ("a", "b", "c")]
    assert list(find(bucket, Wanted(agent_ids=("a", "c")))) == [keys[0], keys[2]]
    assert list(find(bucket, Wanted(agent_ids=("d",)))) == []
    assert [count(bucket, Wanted(agent_ids=agents)) for agents in ((), ("a", "c"), ("d",))] == [3, 2, 0]


def test_a_stretch_has_its_first_instant_and_not_its_last(bucket: DirectoryBucket) -> None:
    midnight = now_us() // DAY_US * DAY_US
    times = [midnight - 2 * DAY_US, midnight - MINUTE_US, midnight - 1, midnight, midnight + MINUTE_US]
    keys = [put(bucket, batch(seq, sent_at=at, stream_id=STREAM, frames=[])) for seq, at in enumerate(times)]
    at = [instant(each) for each in times]
    for first in range(5):
        for last in range(first + 1, 5):
            assert list(find(bucket, Wanted(at[first], at[last]))) == keys[first:last]
        assert list(find(bucket, Wanted(from_at=at[first]))) == keys[first:]
        assert list(find(bucket, Wanted(to_at=at[first]))) == keys[:first]


def test_days_are_told_by_their_folders_and_no_content_is_read(
    bucket: DirectoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = now_us() // DAY_US * DAY_US
    key = put(bucket, batch(sent_at=midnight, frames=[]))
    monkeypatch.setattr(bucket, "read", None)
    wanted = Wanted(instant(midnight), instant(midnight + DAY_US))
    assert list(find(bucket, wanted)) == [key]
    assert [count(bucket, wanted), count(bucket, Wanted(to_at=instant(midnight)))] == [1, 0]
    # The same instants, said in another zone.
    zone = timezone(timedelta(hours=-7))
    elsewhere = Wanted(instant(midnight).astimezone(zone), instant(midnight + DAY_US).astimezone(zone))
    assert list(find(bucket, elsewhere)) == [key]


def test_what_cannot_be_read_is_left_to_the_loader(bucket: DirectoryBucket) -> None:
    at = now_us()
    key, data = packed(batch(sent_at=at, frames=[]))
    bucket.create(key, data[:-20])
    assert list(find(bucket, Wanted(instant(at + 1), instant(at + 2)))) == [key]


def test_what_loads_now_leaves_the_quarantine(bucket: DirectoryBucket, store: Store, connection: Connection) -> None:
    at = now_us()
    keys = [put(bucket, batch(agent_id=agent, frames=[frame("host_load", at)])) for agent in ("a", "b")]
    still = "batches/v1/agent=a/dt=2026-01-01/strange.json.gz"
    bucket.create(still, b"")
    connection.execute("alter table metric.host_load add constraint closed check (false) not valid")
    assert take([*keys, still], bucket, store, Retention(30)) == {}
    connection.execute("alter table metric.host_load drop constraint closed")
    connection.execute("update store.quarantine set reason = 'before' where object_key = %s", (still,))

    of_b = whole(replay(find_quarantined(bucket, store, Wanted(agent_ids=("b",))), bucket, store, Retention(30)))
    assert (of_b.objects, of_b.new) == (1, 1)
    rest = whole(replay(find_quarantined(bucket, store, Wanted()), bucket, store, Retention(30)))
    assert (rest.objects, rest.new, rest.quarantined) == (2, 1, 1)
    left = connection.execute("select object_key, reason from store.quarantine").fetchall()
    assert left == [(still, f"not the key of a batch: {still!r}")]


def test_quarantine_is_filtered_by_time(bucket: DirectoryBucket, store: Store) -> None:
    at = now_us()
    keys = []
    for seq, sent_at in enumerate((at - 3 * DAY_US, at)):
        key, data = packed(batch(seq, sent_at=sent_at, stream_id=STREAM, frames=[]))
        bucket.create(key, data[:-20])
        keys.append(key)
    take(keys, bucket, store, Retention(30))
    since = datetime.now(UTC) - timedelta(days=2)
    assert [count_quarantined(store, Wanted(agent_ids=agents)) for agents in ((), ("nobody",))] == [2, 0]
    assert list(find_quarantined(bucket, store, Wanted(from_at=since))) == keys[1:]
    assert list(find_quarantined(bucket, store, Wanted(to_at=since))) == keys[:1]


def test_what_the_retention_leaves_out_is_counted(bucket: DirectoryBucket, store: Store) -> None:
    at = now_us()
    put(bucket, batch(sent_at=at - 9 * DAY_US, frames=[frame("host_load", at - 9 * DAY_US)]))
    put(bucket, batch(sent_at=at, frames=[frame("host_load", at - each * DAY_US) for each in (0, 8)]))
    done = whole(replay(find(bucket, Wanted()), bucket, store, Retention(7)))
    assert (done.new, done.rows, done.beyond_retention) == (2, 1, 2)
    assert contents(store)["store.gaps"][0] == 2


def test_a_rehearsal_changes_nothing(bucket: DirectoryBucket, store: Store) -> None:
    keys = [put(bucket, batch(seq, frames=[])) for seq in range(3)]
    take(keys[:1], bucket, store, Retention(30))
    before = contents(store)
    told = whole(rehearse(find(bucket, Wanted()), store))
    assert (told.objects, told.new, told.already) == (3, 2, 1)
    assert contents(store) == before


def test_a_store_that_goes_away_ends_it(bucket: DirectoryBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.ingest.replay._CHUNK", 2)
    for seq in range(5):
        put(bucket, batch(seq, frames=[]))
    away = Store(SecretStr("host=127.0.0.1 port=1 dbname=none"), "tests")
    done = whole(replay(find(bucket, Wanted()), bucket, away, Retention(30)))
    assert (done.objects, done.failed) == (2, 2)


def test_a_database_without_a_store_is_told(server: EmbeddedPostgres) -> None:
    store = Store(SecretStr(server.dsn()), "tests")
    with pytest.raises(SchemaMissingError, match="pganalytics migrate"):
        check(store)
    store.close()
