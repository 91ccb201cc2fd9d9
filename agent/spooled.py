"""What a spool's folder has in it: for the agent that holds it, and for whoever looks while it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from contracts.batch import Gap

#: The file of the state, and the folder of what is not sent.
STATE, ASIDE = "stream.json", "rejected"

_NAME = re.compile(r"(?P<seq>\d{12})-(?P<closed_at>\d{1,16})\.json\.gz")


class State(BaseModel):
    """The stream up to now; replaced as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream_id: UUID
    next_seq: int = 0
    name: str | None = None  # of the batch that this state counts last
    marks: dict[str, str] = {}
    gaps: tuple[Gap, ...] = ()
    carried: dict[int, tuple[Gap, ...]] = {}  # by batches that wait: told when these arrive, and not before

    @property
    def untold(self) -> tuple[Gap, ...]:
        """Every gap that has not arrived yet."""
        return (*(gap for of_batch in self.carried.values() for gap in of_batch), *self.gaps)


@dataclass(frozen=True, slots=True)
class Entry:
    """One spooled batch; `closed_at` is in microseconds since 1970."""

    path: Path
    seq: int
    closed_at: int
    size_bytes: int


def name_of(seq: int, closed_at: int) -> str:
    """The name of a batch's file."""
    return f"{seq:012}-{closed_at}.json.gz"


def entries(folder: Path) -> list[Entry]:
    """The batches in a folder, oldest first; another process may take them away meanwhile."""
    found = [entry for path in folder.glob("*.json.gz") if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: entry.seq)


def _entry(path: Path) -> Entry | None:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return None
    return Entry(path, int(match["seq"]), int(match["closed_at"]), size_bytes)
