"""What waits on this host and what was set aside. Only looks, so that it may do so beside a running agent."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.aside import ANSWER
from agent.spool import SpoolError
from agent.spooled import ASIDE, STATE, Entry, State, entries


class _Why(BaseModel):
    """What stands beside a batch that was set aside."""

    model_config = ConfigDict(frozen=True)

    reason: str | None = None
    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch that is not delivered yet."""

    seq: int
    size_bytes: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class SetAside:
    """A batch that is not sent; `status` is the server's, if it was the server that refused it."""

    name: str
    size_bytes: int
    age_seconds: float
    reason: str | None
    status: int | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a spool has in it at one moment."""

    folder: Path
    state: State
    waiting: tuple[Waiting, ...]
    set_aside: tuple[SetAside, ...]

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.waiting)

    @property
    def oldest_seconds(self) -> float | None:
        """How long the oldest waits; None if none does."""
        return max((each.age_seconds for each in self.waiting), default=None)

    def as_json(self) -> str:
        return json.dumps(
            {
                "folder": str(self.folder),
                "stream_id": str(self.state.stream_id),
                "batches": len(self.waiting),
                "size_bytes": self.size_bytes,
                "oldest_seconds": self.oldest_seconds,
                "waiting": [asdict(each) for each in self.waiting],
                "set_aside": [asdict(each) for each in self.set_aside],
                "gaps_not_told": [gap.model_dump(mode="json", exclude_none=True) for gap in self.state.untold],
            }
        )


def look(folder: Path) -> Contents:
    """What is in this spool. Takes no lock and changes nothing.

    Raises:
        SpoolError: it is not there, or cannot be read; the message names the folder and what to mend.
    """
    now = time.time_ns() // 1000
    try:
        state = State.model_validate_json((folder / STATE).read_bytes())
        # The batch that a crash left behind its state is the agent's to name or to throw away.
        waiting = [each for each in entries(folder) if each.seq < state.next_seq]
        aside = [_set_aside(each, now) for each in entries(folder / ASIDE)]
    except FileNotFoundError as error:
        raise SpoolError(f"the spool {folder}: there is none; no agent has run with this state_directory") from error
    except PermissionError as error:
        raise SpoolError(f"the spool {folder}: {error.strerror}; look as the agent's user") from error
    except OSError as error:
        raise SpoolError(f"the spool {folder}: {error.strerror}") from error
    except ValidationError as error:
        mend = "the agent sets it aside at its next start, and begins a new stream"
        raise SpoolError(f"the spool {folder}: {STATE} is corrupt; {mend}") from error
    return Contents(
        folder,
        state,
        tuple(Waiting(each.seq, each.size_bytes, _age(each, now)) for each in waiting),
        tuple(aside),
    )


def _set_aside(entry: Entry, now: int) -> SetAside:
    try:
        why = _Why.model_validate_json(entry.path.with_suffix(ANSWER).read_bytes())
    except (FileNotFoundError, ValidationError):
        why = _Why()
    return SetAside(entry.path.name, entry.size_bytes, _age(entry, now), why.reason, why.status, why.detail)


def _age(entry: Entry, now: int) -> float:
    # Not below 0: the clock may have been set back since.
    return max(0, now - entry.closed_at) / 1_000_000
