"""Judges what a fault left behind, once quiet has returned: nothing lost, nothing twice, nothing missed in silence.

Three witnesses are held against one another, and none of them is the program that is judged:

- the agent's disk, as `Witness` saw it while things failed: how far each stream goes, and the sha-256 of every batch
  that lay in the spool at any time it looked, which is after each kill at least;
- the bucket's folder, read as files: what each batch brings, row by row;
- the store, read with SQL: the ledger, the quarantine, the gaps, and how many rows each reading has in its table.

It holds that

1. no two batches ever took one place of a stream, in the spool or in the bucket;
2. every object in the bucket is in the ledger with its own sha-256, or in quarantine; and the other way round;
3. every batch that was seen in a spool is one of these, or a place without a batch;
4. places without a batch, from 0 to the stream's end, are no more than the batches that the gaps told of, those
   gaps included that wait in the spool's state for the next batch. More gaps than places are allowed: a gap is written
   before what it tells of is dropped, so that a crash in between leads to a batch that arrives after all, and a batch
   that a full disk cost has a gap and no place;
5. each reading's rows, each batch's frames, runs and gaps stand in the store as often as the ledger's batches
   brought them: a row deleted, or a batch loaded twice, is a difference.

Not held: which place a gap stands for, as gaps tell times and not places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from contracts.batch import Batch, GapReason
from contracts.codec import decode, sha256
from contracts.metrics import METRICS
from contracts.names import target_id
from contracts.objects import PREFIX, key_of
from tests.faults.witness import Place, Witness

#: Reasons of gaps that stand for whole batches. Data out of the retention has a batch all the same.
_WHOLE = [reason for reason in GapReason if reason not in {GapReason.RETENTION, GapReason.MISSED}]

_US = "(extract(epoch from {}) * 1000000)::bigint"


@dataclass(frozen=True)
class Account:
    """What became of everything. `problems` is empty where the promise was kept."""

    problems: tuple[str, ...]
    loaded: int
    quarantined: int
    missing: int
    told: int


def judge(dsn: str, bucket: Path, witnesses: Sequence[Witness]) -> Account:
    """Hold the witnesses against one another."""
    with psycopg.connect(dsn, autocommit=True) as store:
        objects = dict(_objects(bucket))
        ledger = {
            (agent, (stream, seq)): digest
            for agent, stream, seq, digest in store.execute(
                "select agent_id, stream_id, seq, encode(sha256, 'hex') from store.ledger"
            )
        }
        aside = {key for (key,) in store.execute("select object_key from store.quarantine")}
        problems = [problem for witness in witnesses for problem in witness.changed]
        problems += _places_taken_twice(objects)
        problems += _not_settled(objects, ledger, aside)
        set_aside = {_at(batch): digest for key, (batch, digest) in objects.items() if key in aside}
        missing = told = 0
        for witness in witnesses:
            holes = set(_holes(witness, ledger, set_aside))
            problems += _lost(witness, ledger, set_aside, holes)
            of_agent = _told(store, witness.agent_id) + witness.untold
            if len(holes) > of_agent:
                problems.append(f"{witness.agent_id}: {len(holes)} places are empty, gaps tell of {of_agent}: {holes}")
            missing, told = missing + len(holes), told + of_agent
        loaded = [batch for batch, digest in objects.values() if ledger.get(_at(batch)) == digest]
        problems += _differences(store, loaded)
    return Account(tuple(problems), len(ledger), len(aside), missing, told)


def _at(batch: Batch) -> tuple[str, Place]:
    return batch.agent_id, (batch.stream_id, batch.seq)


def _objects(bucket: Path) -> Iterator[tuple[str, tuple[Batch, str]]]:
    for path in sorted((bucket / PREFIX).rglob("*.json.gz")):
        data = path.read_bytes()
        batch, digest = decode(data), sha256(data)
        key = path.relative_to(bucket).as_posix()
        assert str(key_of(batch, digest)) == key, f"{key} holds what belongs to {key_of(batch, digest)}"
        yield key, (batch, digest)


def _places_taken_twice(objects: dict[str, tuple[Batch, str]]) -> Iterator[str]:
    # A batch lies in the bucket once however often it is sent: its key is made of its content.
    taken = Counter(_at(batch) for batch, _ in objects.values())
    yield from (f"the place {at} has {times} batches in the bucket" for at, times in taken.items() if times > 1)


def _not_settled(
    objects: dict[str, tuple[Batch, str]], ledger: dict[tuple[str, Place], str], aside: set[str]
) -> Iterator[str]:
    for key, (batch, digest) in objects.items():
        if (ledger.get(_at(batch)) == digest) == (key in aside):
            yield f"{key} is {'both' if key in aside else 'neither'} in the ledger and in quarantine"
    there = {(_at(batch), digest) for batch, digest in objects.values()}
    yield from (f"{at} is in the ledger and not in the bucket" for at in ledger.items() if at not in there)


def _holes(
    witness: Witness, ledger: dict[tuple[str, Place], str], set_aside: dict[tuple[str, Place], str]
) -> Iterator[Place]:
    ends = Counter(witness.ends)
    for agent, (stream, seq) in [*ledger, *set_aside]:
        if agent == witness.agent_id:
            ends[stream] = max(ends[stream], seq + 1)
    for stream, end in ends.items():
        for place in ((stream, seq) for seq in range(end)):
            at = (witness.agent_id, place)
            if at not in ledger and at not in set_aside and place not in witness.forgotten:
                yield place


def _lost(
    witness: Witness,
    ledger: dict[tuple[str, Place], str],
    set_aside: dict[tuple[str, Place], str],
    holes: set[Place],
) -> Iterator[str]:
    for place, digest in witness.seen.items():
        at = (witness.agent_id, place)
        if digest not in {ledger.get(at), set_aside.get(at)} and place not in holes | witness.forgotten:
            yield f"{at} was seen in the spool, and another batch is loaded in its place"


def _told(store: psycopg.Connection[Any], agent_id: str) -> int:
    row = store.execute(
        "select coalesce(sum(batches), 0)::bigint from store.gaps where agent_id = %s and reason = any(%s)",
        (agent_id, [str(reason) for reason in _WHOLE]),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _differences(store: psycopg.Connection[Any], batches: Sequence[Batch]) -> Iterator[str]:
    for what, brought, stands in (
        ("readings", _readings(batches), _stored_readings(store)),
        ("frames", _frames(batches), _counted(store, _FRAMES)),
        ("runs", _runs(batches), _counted(store, _RUNS)),
        ("gaps", _gaps(batches), _counted(store, _GAPS)),
    ):
        for name, difference in (("lost", brought - stands), ("too many", stands - brought)):
            if difference:
                yield f"{what}: {difference.total()} {name}, of {brought.total()}: {difference.most_common(3)}"


_FRAMES = f"""
select target_id, metric, datid, {_US.format("collected_at")}, rows, count(*)
from store.frame group by 1, 2, 3, 4, 5
"""
_RUNS = f"""
select target_id, collector, datid, {_US.format("started_at")}, status, count(*)
from store.run group by 1, 2, 3, 4, 5
"""
_GAPS = f"""
select agent_id, reason, {_US.format("from_at")}, {_US.format("until_at")}, batches, count(*)
from store.gaps group by 1, 2, 3, 4, 5
"""


def _counted(store: psycopg.Connection[Any], query: str) -> Counter[tuple[Any, ...]]:
    return Counter({row[:-1]: row[-1] for row in store.execute(query.encode())})


def _readings(batches: Iterable[Batch]) -> Counter[tuple[Any, ...]]:
    rows: Counter[tuple[Any, ...]] = Counter()
    for batch in batches:
        for frame in batch.frames:
            at = (frame.metric, target_id(batch.agent_id, frame.target), frame.collected_at)
            rows[at] += frame.rows + frame.gone_rows
    return rows


def _stored_readings(store: psycopg.Connection[Any]) -> Counter[tuple[Any, ...]]:
    rows: Counter[tuple[Any, ...]] = Counter()
    for metric in METRICS:
        query = sql.SQL(f"select target_id, {_US.format('collected_at')}, count(*) from {{}} group by 1, 2")
        for target, at, count in store.execute(query.format(sql.Identifier("metric", metric.name))):
            rows[metric.name, target, at] = count
    return rows


def _frames(batches: Iterable[Batch]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (target_id(batch.agent_id, frame.target), frame.metric, frame.datid, frame.collected_at, frame.rows)
        for batch in batches
        for frame in batch.frames
    )


def _runs(batches: Iterable[Batch]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (target_id(batch.agent_id, run.target), run.collector, run.datid, run.started_at, str(run.status))
        for batch in batches
        for run in batch.runs
    )


def _gaps(batches: Iterable[Batch]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (batch.agent_id, str(gap.reason), gap.from_at, gap.until_at, gap.batches)
        for batch in batches
        for gap in batch.gaps
    )
