"""Gaps that stand for batches which will never arrive."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.batch import Gap, GapReason

_MANY = 100


def gap_of(reason: GapReason, closed_at: Sequence[int], detail: str | None = None) -> Gap:
    """The gap that stands for batches closed at these instants."""
    return Gap(
        reason=reason, from_at=min(closed_at), until_at=max(closed_at), batches=len(closed_at), detail=detail or None
    )


def joined(gaps: tuple[Gap, ...], gap: Gap) -> tuple[Gap, ...]:
    """The gaps and this one, as one with the last if both are of one kind: a full disk loses a batch a minute.

    Where there are many, details count for nothing: a refusal may be worded anew for each batch.
    """
    last = gaps[-1] if gaps else None
    if last is None or (last.reason, last.target) != (gap.reason, gap.target):
        return (*gaps, gap)
    if last.detail != gap.detail and len(gaps) < _MANY:
        return (*gaps, gap)
    stretch = {"from_at": min(last.from_at, gap.from_at), "until_at": max(last.until_at, gap.until_at)}
    return (*gaps[:-1], last.model_copy(update={**stretch, "batches": last.batches + gap.batches}))
