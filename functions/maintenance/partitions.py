"""The store's partitions: made days ahead, dropped when they are older than the retention."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import LiteralString

from functions.store import Store

#: From yesterday, for what is under way, to a week ahead, for when maintenance itself fails.
BEHIND_DAYS, AHEAD_DAYS = 1, 7


@dataclass(frozen=True, slots=True)
class Turned:
    """How many partitions were made, and how many dropped."""

    made: int
    dropped: int


def turn(store: Store, now: datetime, keep_days: int) -> Turned:
    """Make the partitions of the days around `now`; drop those of which every row is beyond the retention.

    Each day is a transaction of its own: doing it again goes on where a failure left off.

    Raises:
        StoreUnavailableError: try again later.
    """
    today = now.date()
    made = 0
    for day in range(-BEHIND_DAYS, AHEAD_DAYS + 1):
        made += _call(store, "select store.make_partitions(%s)", today + timedelta(days=day))
    # The loader takes what was collected at this very instant of that day or later: its day stays.
    oldest = (now - timedelta(days=keep_days)).date()
    return Turned(made, _call(store, "select store.drop_partitions(%s)", oldest))


def _call(store: Store, statement: LiteralString, day: date) -> int:
    with store.transaction() as connection:
        row = connection.execute(statement, (day,)).fetchone()
    return int(row[0]) if row else 0
