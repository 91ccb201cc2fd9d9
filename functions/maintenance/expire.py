"""What the store remembers of batches that it could not load, for a time; the objects stay in the bucket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.store import Store


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows of the quarantine were removed, and how many are left."""

    removed: int
    left: int


def expire(store: Store, now: datetime, keep_days: int) -> Expired:
    """Remove what went to quarantine more than `keep_days` ago.

    Raises:
        StoreUnavailableError: try again later.
    """
    with store.transaction() as connection:
        removed = connection.execute(
            "delete from store.quarantine where quarantined_at < %s", (now - timedelta(days=keep_days),)
        ).rowcount
        left = connection.execute("select count(*) from store.quarantine").fetchone()
    return Expired(removed, left[0] if left else 0)
