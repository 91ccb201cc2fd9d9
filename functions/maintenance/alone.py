"""One run of a task at a time, however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from functions.store import Store, StoreUnavailableError

#: Any number that nothing else locks with: the other half of the lock is the task.
_MAINTENANCE = 720_511_802


@contextmanager
def alone(store: Store, task: str) -> Iterator[bool]:
    """Whether no other session is at this task; if so, none begins it before the end of the block.

    The lock is the connection's: a run that dies takes it along.

    Raises:
        StoreUnavailableError: try again later.
    """
    with store.transaction() as connection:
        row = connection.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (_MAINTENANCE, task)).fetchone()
    free = bool(row and row[0])
    try:
        yield free
    finally:
        if free:
            with suppress(StoreUnavailableError), store.transaction() as connection:
                connection.execute("select pg_advisory_unlock(%s, hashtext(%s))", (_MAINTENANCE, task))
