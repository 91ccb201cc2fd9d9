"""What became of a batch that was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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

    def send(self, data: bytes) -> Outcome:
        """Send one batch. Trouble is an outcome, never an exception."""
