"""What the store remembers for a time: batches that it could not load, whose objects stay in the bucket, and what
keeps strangers out: assertions that were used, failed logins, sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from functions.store import Connection, Store

#: After these days nobody asks for it: what has expired is refused for that, and a failure counts no more.
ASSERTION_DAYS = FAILURE_DAYS = 1
SESSION_DAYS = 30

_ASSERTIONS: LiteralString = "delete from identity.assertion where expires_at < %s"
_FAILURES: LiteralString = "delete from identity.failure where last_at < %s"
_SESSIONS: LiteralString = "delete from identity.session where expires_at < %s"  # with their refresh tokens


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows of the quarantine were removed and how many are left; and what was forgotten of identity."""

    removed: int
    left: int
    assertions: int
    failures: int
    sessions: int


def expire(store: Store, now: datetime, keep_days: int) -> Expired:
    """Remove what went to quarantine more than `keep_days` ago, and what of identity has had its time.

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
    return Expired(removed, left[0] if left else 0, assertions, failures, sessions)


def _forget(connection: Connection, statement: LiteralString, now: datetime, days: int) -> int:
    return connection.execute(statement, (now - timedelta(days=days),)).rowcount
