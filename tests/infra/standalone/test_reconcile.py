"""What is in the bucket and not in the store is queued; nothing else is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.codec import decode, sha256
from contracts.objects import PREFIX, key_of
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import take
from functions.retention import Retention
from functions.store import Store, StoreUnavailableError
from infra.standalone import reconcile as module
from infra.standalone.embedded import EmbeddedPostgres
from infra.standalone.queue import Queue
from infra.standalone.reconcile import Reconciler, reconcile
from tests.infra.standalone.serving import batch, new_store


@pytest.fixture
def store(server: EmbeddedPostgres) -> Iterator[Store]:
    opened = Store(SecretStr(new_store(server)), "test")
    yield opened
    opened.close()


@pytest.fixture
def bucket(tmp_path: Path) -> DirectoryBucket:
    (tmp_path / "bucket").mkdir()
    return DirectoryBucket(tmp_path / "bucket")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path)
    yield opened
    opened.close()


def put(bucket: DirectoryBucket, data: bytes) -> str:
    key = str(key_of(decode(data), sha256(data)))
    bucket.create(key, data)
    return key


def test_only_what_the_store_does_not_know_is_queued(
    bucket: DirectoryBucket, store: Store, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    keys = [put(bucket, batch(seq)) for seq in range(5)]
    assert take(keys[:3], bucket, store, Retention(30)) == {}
    nonsense, quarantined = f"{PREFIX}agent=db-1/one.json.gz", f"{PREFIX}agent=db-1/two.json.gz"
    for key in (nonsense, quarantined):
        bucket.create(key, b"")
    assert take([quarantined], bucket, store, Retention(30)) == {}
    assert reconcile(bucket, store, queue) == 3
    assert {message.body for message in queue.receive()} == {*keys[3:], nonsense}


def test_a_second_batch_at_the_same_place_is_told_from_the_first(
    bucket: DirectoryBucket, store: Store, queue: Queue
) -> None:
    stream = decode(batch()).stream_id
    first, second = (put(bucket, batch(1, stream_id=stream)) for _ in range(2))
    take([first], bucket, store, Retention(30))
    assert reconcile(bucket, store, queue) == 1
    assert [message.body for message in queue.receive()] == [second]


def test_it_is_tried_again_until_the_store_is_there() -> None:
    outcomes: list[Exception | int] = [StoreUnavailableError("away"), RuntimeError("odd"), 7]
    calls = 0
    closed = threading.Event()

    def once() -> int:
        nonlocal calls
        calls += 1
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    reconciler = Reconciler(once, done=closed.set, first_pause_seconds=0.001)
    reconciler.start()
    reconciler.join(10)
    assert (calls, closed.is_set()) == (3, True)


def test_stopping_ends_a_pause() -> None:
    called, closed = threading.Event(), threading.Event()

    def once() -> int:
        called.set()
        raise StoreUnavailableError("away")

    reconciler = Reconciler(once, done=closed.set, first_pause_seconds=3600)
    reconciler.start()
    assert called.wait(10)
    reconciler.stop(10)
    assert not reconciler.is_alive()
    assert closed.is_set()
