"""What a lost queue left behind is loaded once; at the start it is tried until it succeeds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from contracts.codec import decode, encode, sha256
from contracts.objects import key_of
from functions.ingest import loader
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import take
from functions.ingest.reconcile import Reconciled
from functions.retention import Retention
from functions.store import Store, StoreUnavailableError
from infra.standalone.embedded import EmbeddedPostgres
from infra.standalone.events import Event, FunctionContext
from infra.standalone.queue import Queue
from infra.standalone.reconcile import LeftBehind, LeftBehindEnvironment, Reconciler
from infra.standalone.worker import Loader, Worker
from tests.infra.standalone.serving import batch, loaded, new_store, until


@pytest.fixture
def dsn(server: EmbeddedPostgres) -> str:
    return new_store(server)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture
def left_behind(folder: Path, dsn: str, tmp_path: Path) -> Iterator[LeftBehind]:
    store, queue = Store(SecretStr(dsn), "test"), Queue(tmp_path)
    yield LeftBehind(DirectoryBucket(folder), store, queue, LeftBehindEnvironment())
    queue.close()
    store.close()


def put(folder: Path, data: bytes, made_ago_seconds: int = 600) -> str:
    key = str(key_of(decode(data), sha256(data)))
    DirectoryBucket(folder).create(key, data)
    at = time.time() - made_ago_seconds
    os.utime(folder / key, (at, at))
    return key


def test_by_the_clock_only_what_is_settled_and_of_the_last_days(folder: Path, left_behind: LeftBehind) -> None:
    week = 7 * 86_400 * 1_000_000
    old = decode(batch(3))
    keys = [put(folder, batch(1)), put(folder, batch(2))]
    fresh = put(folder, batch(4), made_ago_seconds=0)
    older = put(folder, encode(old.model_copy(update={"sent_at": old.sent_at - week})))
    assert take(keys[:1], left_behind.bucket, left_behind.store, Retention(30)) == {}
    assert left_behind.of_the_last_days() == Reconciled(checked=2, queued=1)
    assert [message.body for message in left_behind.queue.receive()] == keys[1:]
    assert left_behind.of_all_days() == Reconciled(checked=4, queued=3)
    assert {message.body for message in left_behind.queue.receive()} == {fresh, older}


def test_what_is_queued_again_is_loaded_once(
    folder: Path, left_behind: LeftBehind, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_store", lambda: left_behind.store)
    monkeypatch.setattr(loader, "_bucket", lambda: left_behind.bucket)
    settings = loader.LoaderEnvironment(bucket_url=f"file://{folder}", store_dsn=SecretStr(dsn))
    monkeypatch.setattr(loader, "_environment", lambda: settings)
    for seq in range(5):
        put(folder, batch(seq))
    for _ in range(2):
        assert left_behind.of_the_last_days().queued == 5
    worker = Worker(left_behind.queue, _closing(left_behind.store))
    worker.start()
    try:
        until(lambda: loaded(dsn) == 5)
    finally:
        assert worker.stop(30)
    assert left_behind.of_the_last_days() == Reconciled(checked=5, queued=0)


def _closing(store: Store) -> Loader:
    """The loader, without a connection that outlives its thread."""

    def load(event: Event, context: FunctionContext) -> dict[str, Any]:
        try:
            return loader.handler(event, context)
        finally:
            store.close()

    return load


def test_it_is_tried_again_until_the_store_is_there() -> None:
    outcomes: list[Exception | Reconciled] = [StoreUnavailableError("away"), RuntimeError("odd"), Reconciled(7, 7)]
    calls = 0
    closed = threading.Event()

    def once() -> Reconciled:
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

    def once() -> Reconciled:
        called.set()
        raise StoreUnavailableError("away")

    reconciler = Reconciler(once, done=closed.set, first_pause_seconds=3600)
    reconciler.start()
    assert called.wait(10)
    reconciler.stop(10)
    assert not reconciler.is_alive()
    assert closed.is_set()
