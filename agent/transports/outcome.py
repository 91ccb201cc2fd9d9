"""What is sent, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Upload:
    """A batch on its way: its bytes, and its place as its header has it."""

    data: bytes = field(repr=False)
    stream_id: UUID
    seq: int
    sent_at: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is durable at the other end; `already` before this upload."""

    already: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will never be taken: sending it again is no use."""

    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now. `after_seconds` is what the server asked for, if it did; `answered` is whether it said anything."""

    reason: str
    after_seconds: float | None = None
    answered: bool = True


Outcome = Delivered | Rejected | Later


class Transport(Protocol):
    """A way out."""

    @property
    def skew_us(self) -> int | None:
        """How far this host's clock is ahead of the other end's, by its last answer; None before the first."""

    def send(self, upload: Upload) -> Outcome:
        """Send one batch. Trouble is an outcome, never an exception."""
