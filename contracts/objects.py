"""Where a batch lies in the bucket; nobody else knows the shape of the key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from contracts.batch import Batch

PREFIX = "batches/v1/"

_AGENT = r"batches/v1/agent=(?P<agent>[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?)/"
_DAY = _AGENT + r"dt=(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})/"
_KEY = re.compile(
    _DAY + r"(?P<stream>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?P<seq>[0-9]{12})-(?P<sha>[0-9a-f]{16})\.json\.gz"
)


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What an object's key says of the batch in it; `sha256_start` is the first 16 hexadecimal digits."""

    agent_id: str
    day: str
    stream_id: UUID
    seq: int
    sha256_start: str

    def __str__(self) -> str:
        place = f"{self.stream_id}-{self.seq:012}-{self.sha256_start}"
        return f"{agent_prefix(self.agent_id)}dt={self.day}/{place}.json.gz"

    @property
    def id(self) -> str:
        """The batch's name in answers and messages."""
        return f"{self.stream_id}-{self.seq:012}"


def agent_prefix(agent_id: str) -> str:
    """The part of the bucket that one agent may write."""
    return f"{PREFIX}agent={agent_id}/"


def agent_of(prefix: str) -> str | None:
    """The agent that may write this part of the bucket; None if it is no agent's."""
    match = re.fullmatch(_AGENT, prefix)
    return match["agent"] if match else None


def day_of(prefix: str) -> date | None:
    """The day, of UTC, whose batches lie in this part of an agent's; None if it is no day's."""
    match = re.fullmatch(_DAY, prefix)
    try:
        return date.fromisoformat(match["day"]) if match else None
    except ValueError:
        return None


def key_of(batch: Batch, sha256: str) -> BatchKey:
    """The key of a batch; `sha256` is that of its bytes, in hexadecimal."""
    return key_at(batch.agent_id, batch.stream_id, batch.seq, batch.sent_at, sha256)


def key_at(agent_id: str, stream_id: UUID, seq: int, sent_at: int, sha256: str) -> BatchKey:
    """The key of a batch of which only its place is known."""
    day = datetime.fromtimestamp(sent_at // 1_000_000, UTC).date().isoformat()
    return BatchKey(agent_id, day, stream_id, seq, sha256[:16])


def parse_key(key: str) -> BatchKey:
    """What a key says.

    Raises:
        ValueError: it is not the key of a batch.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"not the key of a batch: {key[:300]!r}")
    return BatchKey(match["agent"], match["day"], UUID(match["stream"]), int(match["seq"]), match["sha"])
