"""Queues what was left behind: at the start of the server, when the store may not be there yet, and by the clock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pydantic import Field

from functions.ingest.bucket import Bucket
from functions.ingest.reconcile import RECONCILE_DAYS, SETTLED, Reconciled, reconcile
from functions.retention import RetentionEnvironment
from functions.store import Store
from infra.standalone.queue import Queue

_MAX_PAUSE_SECONDS = 60.0

logger = logging.getLogger(__name__)


class LeftBehindEnvironment(RetentionEnvironment):
    reconcile_days: int = Field(default=RECONCILE_DAYS, ge=1, le=3650)


@dataclass(frozen=True)
class LeftBehind:
    """What is in the bucket and in no store; each call queues it and says how much it was."""

    bucket: Bucket
    store: Store
    queue: Queue
    settings: LeftBehindEnvironment

    def of_all_days(self) -> Reconciled:
        # The loader takes what is so many days old to the second, of which one day more has a part.
        return reconcile(self.bucket, self.store, self._send, self.settings.retention.longest + 1)

    def of_the_last_days(self) -> Reconciled:
        days = min(self.settings.reconcile_days, self.settings.retention.longest + 1)
        return reconcile(self.bucket, self.store, self._send, days, datetime.now(UTC) - SETTLED)

    def _send(self, object_keys: Sequence[str]) -> None:
        self.queue.send(*object_keys)


class Reconciler(threading.Thread):
    """Reconciles once, and tries again until it has succeeded or is told to stop."""

    def __init__(
        self, once: Callable[[], Reconciled], *, done: Callable[[], None], first_pause_seconds: float = 1.0
    ) -> None:
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
                done = self._once()
            except Exception as error:  # noqa: BLE001 - the store's or the bucket's outage, whatever its name
                logger.warning(
                    "not reconciled, will be tried again", extra={"error": f"{type(error).__name__}: {error}"}
                )
                self._stopping.wait(pause)
                pause = min(_MAX_PAUSE_SECONDS, pause * 2)
            else:
                logger.info("reconciled", extra=asdict(done))
                return

    def stop(self, timeout_seconds: float) -> None:
        self._stopping.set()
        self.join(timeout_seconds)
