"""What the store remembers for a time: which batches it has loaded, those that it could not load, whose objects stay in
the bucket, and what keeps strangers out: assertions that were used, failed logins, sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from functions.retention import Retention
from functions.store import Connection, Store

#: After these days nobody asks for it: what has expired is refused for that, and a failure counts no more.
ASSERTION_DAYS = FAILURE_DAYS = 1
SESSION_DAYS = 30

#: Days beyond the longest retention. What is in a batch was read at most 20 minutes after the batch was loaded: so all
#: of it is too old to be loaded again by then, and its place in the ledger keeps nothing out any more.
LEDGER_DAYS = 2

_BATCHES_AT_ONCE = 10_000

_LEDGER: LiteralString = """
    delete from store.ledger
    where ctid = any(array(select ctid from store.ledger where loaded_at < %s order by loaded_at limit %s))
"""

_ASSERTIONS: LiteralString = "delete from identity.assertion where expires_at < %s"
_FAILURES: LiteralString = "delete from identity.failure where last_at < %s"
_SESSIONS: LiteralString = "delete from identity.session where expires_at < %s"  # with their refresh tokens


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows of the quarantine were removed and how many are left; what was forgotten of identity, and how many
    batches of the ledger.
    """

    removed: int
    left: int
    batches: int
    assertions: int
    failures: int
    sessions: int


def expire(
    store: Store,
    now: datetime,
    keep_days: int,
    retention: Retention,
    seconds_left: Callable[[], float],
) -> Expired:
    """Remove what went to quarantine more than `keep_days` ago, what of identity has had its time, and from the ledger
    the batches of which nothing could be loaded again; of these some are left for the next time when time is up.

    Raises:
        StoreUnavailableError: try again later; what was removed is.
    """
    with store.transaction() as connection:
        removed = connection.execute(
            "delete from store.quarantine where quarantined_at < %s", (now - timedelta(days=keep_days),)
        ).rowcount
        left = connection.execute("select count(*) from store.quarantine").fetchone()
    with store.transaction() as connection:
        assertions = _forget(connection, _ASSERTIONS, now, ASSERTION_DAYS)
        failures = _forget(connection, _FAILURES, now, FAILURE_DAYS)
        sessions = _forget(connection, _SESSIONS, now, SESSION_DAYS)
    batches = _forget_batches(store, now - timedelta(days=retention.longest + LEDGER_DAYS), seconds_left)
    return Expired(removed, left[0] if left else 0, batches, assertions, failures, sessions)


def _forget_batches(store: Store, loaded_before: datetime, seconds_left: Callable[[], float]) -> int:
    forgotten, more = 0, True
    while more and seconds_left() > 0:
        with store.transaction() as connection:
            gone = connection.execute(_LEDGER, (loaded_before, _BATCHES_AT_ONCE)).rowcount
        forgotten, more = forgotten + gone, gone == _BATCHES_AT_ONCE
    return forgotten


def _forget(connection: Connection, statement: LiteralString, now: datetime, days: int) -> int:
    return connection.execute(statement, (now - timedelta(days=days),)).rowcount
