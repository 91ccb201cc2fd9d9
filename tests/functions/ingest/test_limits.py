"""Whatever strangers send is refused at both doors, names its place, reaches no table and holds up no neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from contracts.codec import BatchError, decode, sha256
from contracts.metrics import METRICS
from contracts.objects import BatchKey, key_of, parse_key
from functions.ingest import door, loader
from functions.ingest.bucket import DirectoryBucket
from functions.store import Connection
from infra.standalone.embedded import EmbeddedPostgres
from tests.functions.batches import batch, frame, now_us, packed
from tests.functions.events import messages, notification, problem, upload
from tests.functions.ingest.limits import AGENT, LIMITS, Limit
from tests.infra.standalone.serving import loaded, new_store, serving, until

STREAM = UUID("8d0a4c1e-0000-4000-8000-000000000002")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_the_door_refuses_it(limit: Limit, bucket_folder: Path) -> None:
    status, detail = problem(door.handler(upload(limit.make(), agent=AGENT), None))
    assert status == limit.status
    assert limit.message in detail
    assert len(detail) < 700
    assert list(DirectoryBucket(bucket_folder).objects("")) == []


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("first", range(0, len(LIMITS), 10))
def test_past_the_door_it_goes_to_quarantine_and_its_neighbour_to_the_store(
    first: int, bucket_folder: Path, connection: Connection
) -> None:
    limits, bucket = LIMITS[first : first + 10], DirectoryBucket(bucket_folder)
    good, data = packed(batch(frames=[frame("host_load", now_us())]))
    bucket.create(good, data)
    keys = [_put(bucket, limit, seq) for seq, limit in enumerate(limits)]
    event = messages(*map(notification, [*keys[:5], good, *keys[5:]]))
    assert loader.handler(event, None) == {"batchItemFailures": []}
    found = connection.execute(
        "select object_key, reason, agent_id, stream_id, seq, sha256_start from store.quarantine"
    )
    refused = {object_key: (reason, tuple(place)) for object_key, reason, *place in found}
    assert refused.keys() == set(keys)
    for limit, key in zip(limits, keys, strict=True):
        reason, place = refused[key]
        assert (limit.past or limit.message) in reason, limit
        named = parse_key(key)
        assert place == (AGENT, named.stream_id, named.seq, named.sha256_start)
    assert _rows(connection) == {
        **dict.fromkeys(("metric.host_load", "store.ledger", "store.agent", "store.target"), 1),
        **dict.fromkeys(("store.runs", "store.frames"), 1),
        "store.quarantine": len(limits),
    }


def _put(bucket: DirectoryBucket, limit: Limit, seq: int) -> str:
    data = limit.make()
    key = BatchKey(AGENT, "2025-10-09", STREAM, seq, sha256(data)[:16])
    with suppress(BatchError):
        key = replace(key_of(decode(data), sha256(data)), agent_id=AGENT)
    bucket.create(str(key), data)
    return str(key)


def _rows(connection: Connection) -> dict[str, int]:
    tables = [f"metric.{metric.name}" for metric in METRICS]
    tables += [f"store.{name}" for name in ("ledger", "agent", "target", "runs", "frames", "gaps", "quarantine")]
    counted = {table: connection.execute(f"select count(*) from {table}").fetchone() for table in tables}
    return {table: row[0] for table, row in counted.items() if row and row[0]}


@pytest.mark.processes
def test_a_real_server_refuses_them_all_in_bounded_memory(server: EmbeddedPostgres, tmp_path: Path) -> None:
    dsn = new_store(server)
    with serving(tmp_path / "server", dsn) as running:
        token = running.token("--agent", AGENT)
        answers = [running.post(limit.make(), token) for limit in LIMITS]
        assert _unexpected(LIMITS, [(answer.status, str(answer.json()["detail"])) for answer in answers]) == []
        assert running.post(packed(batch(agent_id=AGENT))[1], token).status == 202
        until(lambda: loaded(dsn) == 1)
        # 50 MB of JSON, which as numbers in Python are some ten times as much.
        assert _peak_megabytes(running.process.pid) < 1200


def _unexpected(limits: Sequence[Limit], answers: Sequence[tuple[int, str]]) -> list[tuple[str, int, str]]:
    return [
        (limit.name, status, detail)
        for limit, (status, detail) in zip(limits, answers, strict=True)
        if status != limit.status or limit.message not in detail
    ]


def _peak_megabytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
    return peak
