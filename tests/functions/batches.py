"""Batches as an agent sends them: every metric of the catalogue, with values that its columns allow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID, uuid4

from contracts.batch import Batch, Columns, Frame, Mode, Run, Status
from contracts.codec import encode, sha256
from contracts.metrics import CATALOGUE, METRICS, Kind, Metric, Scope, Type
from contracts.names import HOST_TARGET
from contracts.objects import key_of
from functions.ingest.ledger import Arrival

AGENT = "agent-1"
SERVER = "main"
DATID = 16384
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


def now_us() -> int:
    return time.time_ns() // 1000


def columns(metric: Metric, rows: int = 3, step: int = 0) -> Columns:
    """Columns of that many rows; each step further, every counter is one higher."""
    return {
        column.name: [
            _value(column.type, column.name, row, step if column.kind is Kind.COUNTER else 0) for row in range(rows)
        ]
        for column in metric.columns
    }


def _value(type_: Type, name: str, row: int, step: int) -> object:
    match type_:
        case Type.BIGINT:
            return 1000 * row + step
        case Type.OID:
            return DATID + row
        case Type.FLOAT:
            return row + 0.5
        case Type.BOOLEAN:
            return row % 2 == 0
        case Type.TIMESTAMP:
            return 1_700_000_000_000_000 + row
        case Type.TEXT:
            return f"{name} {row} é"


def frame(name: str, at: int, step: int = 0, mode: Mode = Mode.FULL, rows: int = 3) -> Frame:
    """One frame of the metric: of one row where the metric has no key."""
    metric = CATALOGUE[name]
    return Frame(
        metric=name,
        target=HOST_TARGET if metric.scope is Scope.HOST else SERVER,
        datid=DATID if metric.scope is Scope.DATABASE else None,
        collected_at=at,
        epoch=7 if metric.counters else None,
        mode=mode,
        columns=columns(metric, rows if metric.key else 1, step),
    )


def frames(at: int, step: int = 0) -> tuple[Frame, ...]:
    """One frame of every metric."""
    return tuple(frame(metric.name, at, step) for metric in METRICS)


def run(collector: str, at: int, status: Status = Status.OK, detail: str | None = None) -> Run:
    metric = CATALOGUE[collector]
    return Run(
        collector=collector,
        target=HOST_TARGET if metric.scope is Scope.HOST else SERVER,
        datid=DATID if metric.scope is Scope.DATABASE else None,
        started_at=at,
        duration_us=1500,
        status=status,
        rows=3 if status is Status.OK else 0,
        detail=detail,
    )


def batch(
    seq: int = 0,
    *,
    sent_at: int | None = None,
    stream_id: UUID | None = None,
    agent_id: str = AGENT,
    frames: Sequence[Frame] | None = None,
    runs: Sequence[Run] | None = None,
) -> Batch:
    """A batch of one minute; unless told otherwise with one frame and one run of every metric."""
    at = sent_at or now_us()
    made = [frame(metric.name, at - 1000, seq) for metric in METRICS] if frames is None else frames
    return Batch(
        agent_id=agent_id,
        stream_id=stream_id or uuid4(),
        seq=seq,
        sent_at=at,
        agent_version="0.1.0",
        frames=tuple(made),
        runs=tuple(run(each.metric, each.collected_at) for each in made) if runs is None else tuple(runs),
    )


def packed(of: Batch) -> tuple[str, bytes]:
    """A batch's key in the bucket, and its bytes."""
    data = encode(of)
    return str(key_of(of, sha256(data))), data


def arrival(of: Batch) -> Arrival:
    """A batch as the loader has it once it is read from the bucket."""
    digest = sha256(encode(of))
    return Arrival(key_of(of, digest), bytes.fromhex(digest), of)
