"""kill -9 of a loader in a process of its own, at instants that nobody chose: every object is loaded once."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from contracts.codec import decode, sha256
from contracts.objects import key_of
from functions.ingest.bucket import DirectoryBucket
from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.lab import PATIENCE_SECONDS, instant
from tests.faults.oracle import judge
from tests.faults.witness import Witness
from tests.infra.standalone.serving import batch
from tests.nursery import Nursery

pytestmark = pytest.mark.processes


def test_a_loader_killed_at_random_loads_every_object_once(
    tmp_path: Path, store_dsn: str, nursery: Nursery, survived: Survived, dice: random.Random, times: int
) -> None:
    bucket, queue, log = tmp_path / "bucket", tmp_path / "queue", tmp_path / "loader.log"
    for made in (bucket, queue):
        made.mkdir()
    environment = {"PGANALYTICS_STORE_DSN": store_dsn, "PGANALYTICS_BUCKET_URL": f"file://{bucket}"}
    streams = {f"db-{number}": uuid4() for number in range(4)}
    witnesses = [Witness(name, tmp_path / name) for name in streams]
    places = dict.fromkeys(streams, 0)
    kills = 80 * times
    with psycopg.connect(store_dsn, autocommit=True) as store:

        def loaded() -> int:
            row = store.execute("select count(*) from store.ledger").fetchone()
            assert row is not None
            return int(row[0])

        for turn in range(kills + 1):
            while sum(places.values()) - loaded() < 80:
                for name, stream_id in streams.items():
                    put(bucket, batch(places[name], agent_id=name, stream_id=stream_id))
                    places[name] += 1
            loader = nursery.start("loader", queue, log=log, environment=environment)
            if turn < kills:
                before = loaded()
                until(lambda before=before: loaded() > before, PATIENCE_SECONDS)  # type: ignore[misc]
                instant(dice, 0, 0.1)
                assert nursery.kill(loader) == -9, log.read_text()[-3000:]
            else:
                until(lambda: loaded() == sum(places.values()), PATIENCE_SECONDS)
                nursery.kill(loader)
    for witness in witnesses:
        witness.ends[streams[witness.agent_id]] = places[witness.agent_id]
    account = judge(store_dsn, bucket, witnesses)
    assert account.problems == ()
    assert (account.loaded, account.missing, account.quarantined) == (sum(places.values()), 0, 0)
    survived.count("kill -9 of a loader", kills)


def put(bucket: Path, data: bytes) -> None:
    DirectoryBucket(bucket).create(str(key_of(decode(data), sha256(data))), data)
