"""What of a stretch of time is covered by readings, and why the rest is not. Nothing here knows the store.

A stretch is covered while two readings that follow one another are at most `reach` apart: three times what is expected
between two readings, and never less than three minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LEAST_REACH = timedelta(seconds=180)

#: Reasons that one uncovered stretch names; beyond these it is no longer read.
MAX_REASONS = 20


def reach(every_seconds: int) -> timedelta:
    """How far apart two readings may be, where one is expected every so many seconds."""
    return max(3 * timedelta(seconds=every_seconds), LEAST_REACH)


@dataclass(frozen=True, slots=True)
class Stretch:
    """From an instant, up to another."""

    from_at: datetime
    to_at: datetime


@dataclass(frozen=True, slots=True)
class Reason:
    """Why there are no readings from one instant to another, which may be the same."""

    from_at: datetime
    to_at: datetime
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What tells a target that is not there yet, or no more, from one that is silent."""

    first_seen_at: datetime
    last_seen_at: datetime


def clip(within: Stretch, islands: Iterable[Stretch]) -> list[Stretch]:
    """What of these islands, in order and apart, lies in the stretch; a reading alone is an island of one instant."""
    clipped = (Stretch(max(each.from_at, within.from_at), min(each.to_at, within.to_at)) for each in islands)
    return [each for each in clipped if each.from_at <= each.to_at]


def holes(within: Stretch, covered: Iterable[Stretch]) -> list[Stretch]:
    """The rest of the stretch, from island to island."""
    found, at = [], within.from_at
    for each in covered:
        found.append(Stretch(at, each.from_at))
        at = each.to_at
    found.append(Stretch(at, within.to_at))
    return [each for each in found if each.from_at < each.to_at]


def reasons(hole: Stretch, evidence: Iterable[Reason], known: Known, within: Stretch, apart: timedelta) -> list[Reason]:
    """Why this stretch has no readings, in order of time; at least one.

    What the evidence says nothing of, `apart` from it and more, follows from where it lies: before the target was
    first seen, after it was last seen, or in between.
    """
    told: dict[tuple[str, str | None], Reason] = {}
    for each in evidence:
        if each.from_at >= hole.to_at or each.to_at < hole.from_at:
            continue
        name = (each.reason, each.detail)
        if name in told or len(told) < MAX_REASONS:
            before = told.get(name, each)
            told[name] = replace(
                each,
                from_at=max(hole.from_at, min(before.from_at, each.from_at)),
                to_at=min(hole.to_at, max(before.to_at, each.to_at)),
            )
    wide = (Stretch(each.from_at - apart, each.to_at + apart) for each in told.values())
    silent = holes(hole, clip(hole, merged(wide)))
    rest = [Reason(each.from_at, each.to_at, _silence(each, known, within)) for each in silent]
    return sorted((*told.values(), *rest), key=lambda each: (each.from_at, each.reason))


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same instants, in order and apart."""
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda each: each.from_at):
        if found and each.from_at <= found[-1].to_at:
            found[-1] = Stretch(found[-1].from_at, max(found[-1].to_at, each.to_at))
        else:
            found.append(each)
    return found


def _silence(hole: Stretch, known: Known, within: Stretch) -> str:
    # A target is first seen when its first batch was closed, which is after the first reading in it.
    if hole.from_at == within.from_at and hole.to_at <= known.first_seen_at:
        return "before_first"
    if hole.to_at == within.to_at and known.last_seen_at <= within.to_at:
        return "after_last"
    return "not_running"


def share(within: Stretch, covered: Sequence[Stretch]) -> float:
    """The part of the stretch that is covered, from 0 to 1."""
    total = (within.to_at - within.from_at) / timedelta(microseconds=1)
    return sum((each.to_at - each.from_at) / timedelta(microseconds=1) for each in covered) / total
