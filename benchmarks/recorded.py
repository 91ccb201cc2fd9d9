"""Batches as a fleet sends them, made from what the real collectors read of a real server once."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from uuid import UUID

from agent.runtime import once
from agent.settings import Settings, TargetSettings
from benchmarks.server import DATABASE, many_tables, touch
from contracts.batch import Batch, Frame, Mode
from contracts.codec import encode
from contracts.document import DatabaseSettings, Document
from contracts.metrics import CATALOGUE

#: A small server: so many tables, each with three indexes.
TABLES = 100

#: Of the metrics that travel by what changed, so much does in a minute.
_CHANGED = 0.2


def record() -> Batch:
    """One reading of every metric, of the host and of a server with 100 tables."""
    with many_tables(tables=TABLES) as server, tempfile.TemporaryDirectory() as folder:
        touch(server, TABLES)
        target = TargetSettings(name="main", dsn=server.dsn(DATABASE))
        settings = Settings(agent_id="recorded", state_directory=Path(folder), targets=(target,))
        return once(settings, Document(databases=DatabaseSettings(include=(DATABASE,))))


def minute(recorded: Batch, agent_id: str, stream_id: UUID, seq: int, sent_at: int, chance: random.Random) -> bytes:
    """The recorded batch as another minute of another agent: the first of a stream in full, then what changed."""
    shift = sent_at - recorded.sent_at
    frames = tuple(_varied(frame, shift, chance, full=seq == 0) for frame in recorded.frames)
    runs = tuple(run.model_copy(update={"started_at": run.started_at + shift}) for run in recorded.runs)
    told = {"agent_id": agent_id, "stream_id": stream_id, "seq": seq, "sent_at": sent_at}
    return encode(recorded.model_copy(update={**told, "frames": frames, "runs": runs}))


def _varied(frame: Frame, shift: int, chance: random.Random, *, full: bool) -> Frame:
    metric, told = CATALOGUE[frame.metric], {"collected_at": frame.collected_at + shift}
    rows = range(frame.rows)
    changed = metric.changes and not full
    if changed:
        rows = range(0, frame.rows, round(1 / _CHANGED))
    columns = {
        name: [
            value + chance.randrange(1000) if name in metric.counters and isinstance(value, int) else value
            for value in (values[row] for row in rows)
        ]
        for name, values in frame.columns.items()
    }
    return frame.model_copy(update={**told, "columns": columns, "mode": Mode.CHANGED if changed else frame.mode})


def now_us() -> int:
    return time.time_ns() // 1000
