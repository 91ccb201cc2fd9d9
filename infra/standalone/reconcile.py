"""Queues again what is in the bucket and not in the store: what a lost queue or a failed load left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from contracts.objects import PREFIX, parse_key
from functions.ingest.bucket import Bucket
from functions.store import Store
from infra.standalone.queue import Queue

_CHUNK = 1000
_MAX_PAUSE_SECONDS = 60.0

# The ledger is found by its primary key; a name that is no batch's can be in quarantine only.
_UNKNOWN = """
select u.object_key
from unnest(%s::text[], %s::text[], %s::uuid[], %s::bigint[]) as u (object_key, agent_id, stream_id, seq)
where not exists (
    select from store.ledger l
    where (l.agent_id, l.stream_id, l.seq) = (u.agent_id, u.stream_id, u.seq) and l.object_key = u.object_key
)
and not exists (select from store.quarantine q where q.object_key = u.object_key)
"""

logger = logging.getLogger(__name__)


def reconcile(bucket: Bucket, store: Store, queue: Queue) -> int:
    """Queue the objects that neither the ledger nor the quarantine knows, and answer how many.

    Raises:
        StoreUnavailableError: try again later; what was found until then is queued.
    """
    queued = 0
    for keys in _chunks(bucket.keys(PREFIX)):
        unknown = _unknown(store, keys)
        if unknown:
            queue.send(*unknown)
        queued += len(unknown)
    return queued


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def _unknown(store: Store, keys: Sequence[str]) -> list[str]:
    places = [_place(key) for key in keys]
    columns = [list(column) for column in zip(*places, strict=True)]
    with store.transaction() as connection:
        return [key for (key,) in connection.execute(_UNKNOWN, (list(keys), *columns))]


def _place(key: str) -> tuple[str | None, str | None, int | None]:
    try:
        parsed = parse_key(key)
    except ValueError:
        return None, None, None
    return parsed.agent_id, str(parsed.stream_id), parsed.seq


class Reconciler(threading.Thread):
    """Reconciles once, and tries again until it has succeeded or is told to stop."""

    def __init__(self, once: Callable[[], int], *, done: Callable[[], None], first_pause_seconds: float = 1.0) -> None:
        """`done` is called at the end, in the thread that called `once`: connections belong to their thread."""
        super().__init__(name="reconciler", daemon=True)
        self._once = once
        self._done = done
        self._first_pause = first_pause_seconds
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            self._run()
        finally:
            self._done()

    def _run(self) -> None:
        pause = self._first_pause
        while not self._stopping.is_set():
            try:
                queued = self._once()
            except Exception as error:  # noqa: BLE001 - the store's or the bucket's outage, whatever its name
                logger.warning(
                    "not reconciled, will be tried again", extra={"error": f"{type(error).__name__}: {error}"}
                )
                self._stopping.wait(pause)
                pause = min(_MAX_PAUSE_SECONDS, pause * 2)
            else:
                logger.info("reconciled", extra={"queued": queued})
                return

    def stop(self, timeout_seconds: float) -> None:
        self._stopping.set()
        self.join(timeout_seconds)
