"""The store's partitions: made ahead of the data, dropped when they are older than their table's retention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable

from functions.retention import Retention, oldest_day
from functions.store import Store

#: From yesterday, for what is under way, to a week ahead, for when maintenance itself fails.
BEHIND_DAYS, AHEAD_DAYS = 1, 7

#: So long a partition that is in use is waited for; the next time is soon enough.
_PATIENCE = "1s"

_SIZE = """
    select pg_total_relation_size(c.oid)
    from pg_class c
    where c.relnamespace = 'partition'::regnamespace and c.relname = %s
"""


@dataclass(slots=True)
class Turned:
    """What was made and dropped; `busy` are those that somebody used, `left` those for which there was no time."""

    made: int = 0
    dropped: list[str] = field(default_factory=list)
    dropped_bytes: int = 0
    busy: list[str] = field(default_factory=list)
    left: int = 0


def turn(store: Store, now: datetime, retention: Retention, seconds_left: Callable[[], float]) -> Turned:
    """Make the partitions of the days around `now`; drop those of which every row is beyond its table's retention.

    Each day that is made and each partition that is dropped is a transaction of its own: doing it again goes on where
    a failure left off.

    Raises:
        StoreUnavailableError: try again later.
    """
    turned = Turned()
    for day in range(-BEHIND_DAYS, AHEAD_DAYS + 1):
        with store.transaction() as connection:
            row = connection.execute("select store.make_partitions(%s)", (now.date() + timedelta(days=day),)).fetchone()
            turned.made += row[0] if row else 0
    for month in _months(now.date()):
        with store.transaction() as connection:
            row = connection.execute("select store.make_rollup_partitions(%s)", (month,)).fetchone()
            turned.made += row[0] if row else 0
    names = _beyond(store, now, retention)
    for done, name in enumerate(names):
        if seconds_left() <= 0:
            turned.left = len(names) - done
            break
        _drop(store, name, turned)
    return turned


def _months(today: date) -> list[date]:
    """The months of the hours that are rolled up now, and of those of the days ahead."""
    days = (today - timedelta(days=BEHIND_DAYS), today + timedelta(days=AHEAD_DAYS))
    return sorted({day.replace(day=1) for day in days})


def _beyond(store: Store, now: datetime, retention: Retention) -> list[str]:
    with store.transaction() as connection:
        found = connection.execute("select name, of_table, until_day from store.partition order by until_day, name")
        return [name for name, table, until_day in found if until_day <= oldest_day(now, retention.of_table(table))]


def _drop(store: Store, name: str, turned: Turned) -> None:
    partition = sql.Identifier("partition", name)
    with store.transaction() as connection:
        try:
            with connection.transaction():
                # The lock is one on the whole table: who waits for it holds up all who come after.
                connection.execute("select set_config('lock_timeout', %s, true)", (_PATIENCE,))
                size = connection.execute(_SIZE, (name,)).fetchone()
                connection.execute(sql.SQL("drop table if exists {}").format(partition))
        except (LockNotAvailable, DeadlockDetected):
            turned.busy.append(name)
        else:
            if size:
                turned.dropped.append(name)
                turned.dropped_bytes += size[0]
