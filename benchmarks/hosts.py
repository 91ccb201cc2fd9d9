"""What hosts send: the batches of one real agent with default settings, and the same as those of many others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from rich.console import Console
from rich.progress import track

from benchmarks.agent import running_agent, taker
from benchmarks.server import many_tables, touch
from contracts.batch import Batch, Frame
from contracts.codec import decode, encode
from contracts.document import Document
from contracts.metrics import CATALOGUE

#: Of the tables, so many are touched twice a minute.
_TOUCHED = 0.2
_EVERY_SECONDS = 30.0

_MINUTE_US = 60_000_000

#: So far apart are counters of a sample that is sent another time: they must not fall.
_STEP = 10**9


def sample(folder: Path, tables: int, minutes: int, console: Console) -> list[bytes]:
    """The batches that an agent with default settings sends in so many minutes, of a host and of one server on it.

    They stay in the folder, and are taken from there where it has them.
    """
    files = [folder / f"{tables}-{number:04}.json.gz" for number in range(minutes)]
    if not all(file.exists() for file in files):
        for file, body in zip(files, _sampled(tables, minutes, console), strict=True):
            file.write_bytes(body)
    return [file.read_bytes() for file in files]


def _sampled(tables: int, minutes: int, console: Console) -> Iterator[bytes]:
    kept: list[bytes] = []
    with (
        many_tables(tables=tables) as server,
        taker(Document(), kept) as (url, _),
        running_agent(server, url) as process,
    ):
        for number in track(range(minutes), "an agent is at work", console=console):
            while len(kept) <= number + 1:  # what it sends at its start, before it has read anything, does not count
                if process.poll() is not None:
                    raise RuntimeError(f"the agent ended after {len(kept)} batches")
                touch(server, round(tables * _TOUCHED))
                threading.Event().wait(_EVERY_SECONDS)
            yield kept[number + 1]


def hours(sampled: Sequence[bytes], hosts: int, minutes: int, begin_us: int) -> Iterator[bytes]:
    """The batches of so many hosts from this instant on, minute by minute.

    Where the sample is of fewer minutes, it goes on with those after the first, whose counters have risen.
    """
    batches = [decode(data) for data in sampled]
    agents = [(f"db-{number}", uuid4()) for number in range(hosts)]
    for minute in range(minutes):
        rest = max(len(batches) - 1, 1)
        which, again = (0, 0) if minute == 0 else (1 + (minute - 1) % rest, (minute - 1) // rest)
        for number, (agent_id, stream_id) in enumerate(agents):
            sent_at = begin_us + (minute + 1) * _MINUTE_US - hosts + number
            yield encode(_moved(batches[which], agent_id, stream_id, minute, sent_at, again * _STEP))


def _moved(of: Batch, agent_id: str, stream_id: UUID, seq: int, sent_at: int, higher: int) -> Batch:
    shift = sent_at - of.sent_at
    told = {"agent_id": agent_id, "stream_id": stream_id, "seq": seq, "sent_at": sent_at}
    frames = tuple(_moved_frame(frame, shift, higher) for frame in of.frames)
    runs = tuple(run.model_copy(update={"started_at": run.started_at + shift}) for run in of.runs)
    return of.model_copy(update={**told, "frames": frames, "runs": runs})


def _moved_frame(frame: Frame, shift: int, higher: int) -> Frame:
    counters = CATALOGUE[frame.metric].counters
    columns = {
        name: [value + higher if isinstance(value, int) else value for value in values] if name in counters else values
        for name, values in frame.columns.items()
    }
    return frame.model_copy(update={"collected_at": frame.collected_at + shift, "columns": columns})
