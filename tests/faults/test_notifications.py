"""Notifications of new objects come twice, out of order, late or not at all: each object is loaded once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from contracts.codec import decode, sha256
from contracts.objects import key_of
from functions.ingest import loader
from functions.ingest.bucket import DirectoryBucket
from functions.store import Store
from infra.standalone.events import FunctionContext, queue_event
from infra.standalone.queue import Message
from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.lab import PATIENCE_SECONDS
from tests.faults.oracle import judge
from tests.faults.witness import Witness
from tests.infra.standalone.serving import batch
from tests.nursery import Nursery


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_dsn: str) -> Iterator[dict[str, str]]:
    """The loader's environment in this process, and in those that are given it."""
    (tmp_path / "bucket").mkdir()
    environment = {"PGANALYTICS_STORE_DSN": store_dsn, "PGANALYTICS_BUCKET_URL": f"file://{tmp_path}/bucket"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cached = (loader._environment, loader._bucket, loader._store)
    for each in cached:
        each.cache_clear()
    yield environment
    loader._store().close()
    for each in cached:
        each.cache_clear()


def told(keys: list[str], dice: random.Random) -> Iterator[list[str]]:
    """The keys as events tell of them: one in five not, one in three again later, in any order."""
    late: list[str] = []
    for key in dice.sample(keys, len(keys)):
        if dice.random() < 0.8:
            late += [key] * (1 + (dice.random() < 0.33))
    dice.shuffle(late)
    while late:
        size = dice.randint(1, 10)
        yield late[:size]
        del late[:size]


def hear(keys: Sequence[str]) -> None:
    messages = [Message(number, key, 1, datetime.now(UTC)) for number, key in enumerate(keys)]
    assert loader.handler(queue_event(messages), FunctionContext("ingest-loader")) == {"batchItemFailures": []}


def test_each_object_is_loaded_once_however_its_notification_comes(
    tmp_path: Path,
    store_dsn: str,
    deployed: dict[str, str],
    nursery: Nursery,
    survived: Survived,
    dice: random.Random,
    times: int,
) -> None:
    bucket, stream_id, count = tmp_path / "bucket", uuid4(), 200 * times
    keys = []
    for seq in range(count):
        data = batch(seq, stream_id=stream_id)
        keys.append(str(key_of(decode(data), sha256(data))))
        DirectoryBucket(bucket).create(keys[-1], data)
    seen: set[str] = set()
    for event in told(keys, dice):
        hear(event)
        survived.count("notification doubled", len(event) - len(set(event) - seen))
        seen |= set(event)
    witness = Witness("db-1", tmp_path / "none", ends={stream_id: count})
    assert 0 < len(seen) < count, "the dice lost nothing, or everything"
    before = judge(store_dsn, bucket, [witness])
    assert (before.loaded, before.missing) == (len(seen), count - len(seen))

    # What no notification has told of yet, the reconciliation at a loader's start finds.
    process = nursery.start("loader", tmp_path, log=tmp_path / "loader.log", environment=deployed)
    try:
        until(lambda: judge(store_dsn, bucket, [witness]).loaded == count, PATIENCE_SECONDS)
    finally:
        nursery.kill(process)

    # Of those, half come after all, when nobody waits for them any more.
    delayed = dice.sample(sorted(set(keys) - seen), (count - len(seen)) // 2)
    hear(delayed)
    account = judge(store_dsn, bucket, [witness])
    assert account.problems == ()
    assert (account.loaded, account.missing, account.quarantined) == (count, 0, 0)
    survived.count("notification delayed", len(delayed))
    survived.count("notification lost", count - len(seen) - len(delayed))


def test_two_loaders_that_are_told_the_same_at_once_load_it_once(
    tmp_path: Path, store_dsn: str, deployed: dict[str, str], nursery: Nursery, times: int
) -> None:
    bucket, stream_id, count = tmp_path / "bucket", uuid4(), 300 * times
    for seq in range(count):
        data = batch(seq, stream_id=stream_id)
        DirectoryBucket(bucket).create(str(key_of(decode(data), sha256(data))), data)
    witness = Witness("db-1", tmp_path / "none", ends={stream_id: count})
    loaders = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        log = tmp_path / f"{name}.log"
        loaders.append(nursery.start("loader", tmp_path / name, log=log, environment=deployed))
    store = Store(SecretStr(store_dsn), "tests")
    try:
        until(lambda: loaded(store) == count, PATIENCE_SECONDS)
    finally:
        for process in loaders:
            nursery.kill(process)
        store.close()
    account = judge(store_dsn, bucket, [witness])
    assert account.problems == ()
    assert (account.missing, account.quarantined) == (0, 0)


def loaded(store: Store) -> int:
    with store.transaction() as connection:
        row = connection.execute("select count(*) from store.ledger").fetchone()
    assert row is not None
    return int(row[0])
