"""Empties the spool: oldest first, one at a time, patiently."""

from __future__ import annotations

import errno
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.progress import Progress
from agent.spool import Spool
from agent.spooled import Entry
from agent.transports.outcome import Delivered, Later, Outcome, Rejected, Transport, Upload
from contracts.batch import GapReason
from contracts.codec import BatchError, BatchTooLargeError, inflate

log = logging.getLogger(__name__)

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 300.0

#: One batch is sent within this time, or the sender is stuck: a request may be a large one on a slow line.
_WORK_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Uploads:
    """What became of the uploads so far. `sent_bytes` are those of uploads that were answered."""

    accepted: int = 0
    duplicate: int = 0
    later: int = 0
    rejected: int = 0
    failed: int = 0
    sent_bytes: int = 0

    def and_one(self, outcome: Outcome, size_bytes: int) -> Uploads:
        match outcome:
            case Delivered(already):
                counted = replace(self, duplicate=self.duplicate + already, accepted=self.accepted + (not already))
            case Rejected():
                counted = replace(self, rejected=self.rejected + 1)
            case Later(answered=False):
                return replace(self, failed=self.failed + 1)
            case Later():
                counted = replace(self, later=self.later + 1)
        return replace(counted, sent_bytes=self.sent_bytes + size_bytes)


class Sender(threading.Thread):
    """Sends what the spool holds until it is told to stop; what was not sent stays in the spool."""

    def __init__(
        self, spool: Spool, transport: Transport, on_loss: Callable[[], None], progress: Progress | None = None
    ) -> None:
        super().__init__(name="sender", daemon=True)
        self._progress = progress or Progress()
        self._spool = spool
        self._transport = transport
        self._on_loss = on_loss
        self._stopping = threading.Event()
        self._failures = 0
        #: Counted by the sender's thread; others may read it.
        self.uploads = Uploads()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._progress.within("sender", _WORK_SECONDS)
            try:
                entry = self._spool.oldest()
                if entry is None:
                    self._spool.filled.wait(1)
                    continue
                pause = self.send(entry)
            except Exception as error:  # this thread is the only way out: whatever it is, it goes on
                log.exception("the spool cannot be sent from")
                pause = self._pause(Later(type(error).__name__))
            if pause:
                self._progress.within("sender", pause + _WORK_SECONDS)
                self._stopping.wait(pause)

    def send(self, entry: Entry) -> float:
        """Send one batch, and answer how many seconds to wait before the next."""
        try:
            data = entry.path.read_bytes()
        except FileNotFoundError:
            return 0  # dropped meanwhile to make room, which its gap tells
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return self._set_aside(entry, GapReason.CORRUPT, f"the disk cannot read it: {error.strerror}")
        try:
            inflate(data)
        except BatchTooLargeError as error:
            return self._set_aside(entry, GapReason.REJECTED, str(error))
        except BatchError as error:
            # A bucket would take whatever lies on the disk: here is where every transport comes by.
            return self._set_aside(entry, GapReason.CORRUPT, str(error))
        outcome = self._transport.send(Upload(data, self._spool.stream_id, entry.seq, entry.closed_at))
        self.uploads = self.uploads.and_one(outcome, len(data))
        match outcome:
            case Delivered():
                self._spool.done(entry)
                if self._failures:
                    log.info("batches are delivered again")
                self._failures = 0
                return 0
            case Rejected(status, detail):
                return self._set_aside(entry, GapReason.REJECTED, detail, status)
            case Later():
                return self._pause(outcome)

    def _set_aside(self, entry: Entry, reason: GapReason, detail: str, status: int | None = None) -> float:
        log.error("batch %d is set aside (%s%s): %s", entry.seq, reason, f", {status}" if status else "", detail)
        self._spool.put_aside(entry, reason, detail, status)
        self._on_loss()
        return 0

    def _pause(self, later: Later) -> float:
        self._failures += 1
        # Full jitter: after an outage the fleet does not come back in step.
        ceiling = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** min(self._failures, 16))
        pause = random.uniform(0, ceiling) + (later.after_seconds or 0)  # noqa: S311 - no secret hangs on it
        log.warning("not delivered, next try in %.1f s: %s", pause, later.reason)
        return pause

    def stop(self, wait_seconds: float = 5) -> None:
        """Finish the request in hand and end."""
        self._stopping.set()
        self._spool.filled.set()
        self.join(wait_seconds)
