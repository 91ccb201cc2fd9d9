"""What was seen on an agent's disk, kept where no fault reaches it: which batches it had promised to deliver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from contracts.codec import decode, sha256

Place = tuple[UUID, int]


@dataclass
class Witness:
    """Looks into one agent's spool as often as it is asked to; what it saw once it does not forget.

    `ends` has the next place of each stream, `seen` the sha-256 of each batch that lay there. `untold` counts the
    batches of gaps that stand in the spool's state, waiting for the next batch to tell of them. `forgotten` are
    batches that a test took away in such a way that the agent cannot know of it.
    """

    agent_id: str
    spool: Path
    ends: dict[UUID, int] = field(default_factory=dict)
    seen: dict[Place, str] = field(default_factory=dict)
    untold: int = 0
    forgotten: set[Place] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Read the spool as it is now; its agent may run or be dead."""
        for path in sorted(self.spool.glob("*.json.gz")):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # sent meanwhile
            batch, digest = decode(data), sha256(data)
            place = (batch.stream_id, batch.seq)
            if self.seen.setdefault(place, digest) != digest:
                self.changed.append(f"{self.agent_id}: the place {place} had another batch before")
            self._ends(*place)
        try:
            state = json.loads((self.spool / "stream.json").read_bytes())
        except FileNotFoundError:
            return
        self._ends(UUID(state["stream_id"]), state["next_seq"] - 1)
        self.untold = sum(gap.get("batches", 0) for gap in state["gaps"])

    def _ends(self, stream: UUID, seq: int) -> None:
        self.ends[stream] = max(self.ends.get(stream, 0), seq + 1)

    def forget(self) -> None:
        """What waits now is about to be taken away behind the back of an agent that is not running."""
        self.look()
        self.forgotten |= set(self.waiting())

    def waiting(self) -> Iterator[Place]:
        for path in sorted(self.spool.glob("*.json.gz")):
            batch = decode(path.read_bytes())
            yield batch.stream_id, batch.seq
