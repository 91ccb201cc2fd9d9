"""Which objects of the bucket lie in a stretch of days: agent by agent and day by day, never all of them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from contracts.objects import PREFIX, agent_of, agent_prefix, day_of
from functions.ingest.bucket import Bucket, Listed


@dataclass(frozen=True, slots=True)
class Days:
    """From the first to the last, both included; None is no bound."""

    first: date | None = None
    last: date | None = None

    def has(self, day: date) -> bool:
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


def agents(bucket: Bucket) -> Iterator[str]:
    """The agents that have a part of the bucket, by their ids.

    Raises:
        BucketUnavailableError: try again later.
    """
    for prefix in bucket.prefixes(PREFIX):
        agent_id = agent_of(prefix)
        if agent_id is not None:
            yield agent_id


def objects(bucket: Bucket, agent_ids: Iterable[str], days: Days) -> Iterator[Listed]:
    """The objects of these agents' days, whatever they hold.

    Raises:
        BucketUnavailableError: try again later.
    """
    for agent_id in agent_ids:
        for prefix in bucket.prefixes(agent_prefix(agent_id)):
            day = day_of(prefix)
            if day is not None and days.has(day):
                yield from bucket.objects(prefix)


def day_of_instant(at: datetime) -> date:
    """The day whose folder has a batch that was closed then."""
    return at.astimezone(UTC).date()
