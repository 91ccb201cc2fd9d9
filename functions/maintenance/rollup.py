"""Rolls up the hours of which something was loaded, each as often as that happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import LiteralString

import psycopg
from psycopg import sql

from contracts.rollups import LOOKBACK_HOURS, ROLLUPS
from functions.retention import Retention, oldest_day
from functions.store import Connection, Store, StoreUnavailableError

_HOUR = timedelta(hours=1)

#: An hour is rolled up so long after its end: what the agents then still have is late, and rolls it up again.
_SETTLES = timedelta(minutes=5)

#: Hours of one target in one transaction, and hours that one run has in mind.
_TOGETHER, _AT_MOST = 6, 5000

#: So many failures in a row, and it is the store's.
_GIVE_UP = 3

_PENDING: LiteralString = """
    select hour, target_id from store.rollup_due where hour <= %s group by hour, target_id order by hour desc limit %s
"""

_READ_AND_NOT_DUE: LiteralString = """
    select hour
    from unnest(%(hours)s::timestamptz[]) as hour
    where not exists (select from store.rollup_due d where d.target_id = %(target)s and d.hour = hour.hour)
        and exists (
            select from store.frames f
            where f.target_id = %(target)s and f.collected_at >= hour and f.collected_at < hour + interval '2 hours'
        )
"""


@dataclass(slots=True)
class RolledUp:
    """How many hours of targets were rolled up, into how many rows; `left` are those that are still due.

    `failed` are targets that could not be rolled up, and why; their hours stay due.
    """

    hours: int = 0
    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0


def roll_up(
    store: Store, now: datetime, retention: Retention, seconds: float, seconds_left: Callable[[], float]
) -> RolledUp:
    """Roll up what is due and complete, newest first, until it is done or the time is up.

    Some hours of one target are one transaction: what was rolled up stays, whatever ends the run.

    Raises:
        StoreUnavailableError: try again later.
    """
    done, ends = RolledUp(), time.monotonic() + seconds
    last = now - _SETTLES - _HOUR
    with store.transaction() as connection:
        pending = connection.execute(_PENDING, (last, _AT_MOST)).fetchall()
    _make_partitions(store, [hour for hour, _ in pending], now, retention)
    failures = 0
    for target, hours in _chunks([(target, hour) for hour, target in pending]):
        if time.monotonic() >= ends or seconds_left() <= 0:
            break
        try:
            made = _chunk(store, target, hours, now, retention)
        except (StoreUnavailableError, psycopg.Error) as error:
            # What an agent sent may be more than can be summed: that costs no other target its rollups.
            failures += 1
            done.failed[str(target)] = str(error).partition("\n")[0]
            if failures == _GIVE_UP and isinstance(error, StoreUnavailableError):
                raise
        else:
            failures = 0
            done.hours += len(made)
            done.rows += sum(made)
    with store.transaction() as connection:
        row = connection.execute(
            "select count(*) from (select distinct hour, target_id from store.rollup_due where hour <= %s) as due",
            (last,),
        ).fetchone()
    done.left = row[0] if row else 0
    return done


def _make_partitions(store: Store, hours: Sequence[datetime], now: datetime, retention: Retention) -> None:
    # In a transaction of its own: until its end the lock of the making would hold up the loader.
    affected = {hour + after for hour in hours for after in (timedelta(), LOOKBACK_HOURS * _HOUR)}
    months = {hour.date().replace(day=1) for hour in affected if _keeps(hour, now, retention.rollups)}
    for month in sorted(months):
        with store.transaction() as connection:
            connection.execute("select store.make_rollup_partitions(%s)", (month,))


def _chunks(due: Sequence[tuple[int, datetime]]) -> list[tuple[int, list[datetime]]]:
    """Some hours of a target each; those with the newest come first."""
    chunks = []
    for target, group in groupby(sorted(due), key=lambda each: each[0]):
        hours = [hour for _, hour in group]
        chunks += [(target, hours[first : first + _TOGETHER]) for first in range(0, len(hours), _TOGETHER)]
    return sorted(chunks, key=lambda chunk: chunk[1][-1], reverse=True)


def _chunk(store: Store, target: int, hours: Sequence[datetime], now: datetime, retention: Retention) -> list[int]:
    """Roll up these hours of a target; the rows of each that was affected."""
    with store.transaction() as connection:
        # Two runs take turns at a target, so that neither makes rows that the other does not see and take away.
        connection.execute("select pg_advisory_xact_lock(hashtextextended('store.rollup', %s))", (target,))
        # First the notes are taken away, then the data is looked at: what is committed in between is seen, and what
        # is committed later has a note of its own that stays.
        taken = connection.execute(
            "delete from store.rollup_due where target_id = %s and hour = any(%s) returning hour", (target, list(hours))
        ).fetchall()
        affected = _affected(connection, target, {hour for (hour,) in taken}, now)
        return [_make(connection, target, hour, now, retention) for hour in affected]


def _affected(connection: Connection, target: int, taken: set[datetime], now: datetime) -> list[datetime]:
    """These hours, and those after them whose differences may look back at them; not those that are due themselves."""
    after = {hour + number * _HOUR for hour in taken for number in range(1, LOOKBACK_HOURS + 1)} - taken
    complete = [hour for hour in after if hour <= now - _SETTLES - _HOUR]
    found = connection.execute(_READ_AND_NOT_DUE, {"target": target, "hours": complete})
    return sorted(taken | {hour for (hour,) in found})


def _make(connection: Connection, target: int, hour: datetime, now: datetime, retention: Retention) -> int:
    made = 0
    for rollup in ROLLUPS:
        # Where the readings before it are dropped, the hour stays as it was rolled up when they were there.
        if not _keeps(hour - LOOKBACK_HOURS * _HOUR, now, retention.of(rollup.name)):
            continue
        if not _keeps(hour, now, retention.rollups):
            continue
        function = sql.Identifier("rollup", f"make_{rollup.name}")
        row = connection.execute(sql.SQL("select {}(%s, %s)").format(function), (target, hour)).fetchone()
        made += row[0] if row else 0
    return made


def _keeps(at: datetime, now: datetime, days: int) -> bool:
    return at.astimezone(UTC).date() >= oldest_day(now, days)
