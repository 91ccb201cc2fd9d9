"""Makes batches of what was collected, and puts them into the spool."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from agent.outbox import Contents, Outbox
from agent.progress import Progress
from agent.spool import Spool, SpoolError
from contracts.batch import Batch, Clock, Config, Gap, GapReason
from contracts.codec import encode
from contracts.limits import MAX_COMPRESSED_BYTES, MAX_INFLATED_BYTES, MAX_ROWS, MAX_RUNS
from contracts.version import __version__

log = logging.getLogger(__name__)

#: A batch is closed within this time, or the batcher is stuck: the disk may be a slow one.
_WORK_SECONDS = 300.0


class Assembler:
    """Closes batches. `config` and `clock` answer what the header says of them at that moment."""

    def __init__(
        self,
        agent_id: str,
        outbox: Outbox,
        spool: Spool,
        config: Callable[[], Config],
        clock: Callable[[], Clock],
        on_loss: Callable[[], None],
    ) -> None:
        self._agent_id = agent_id
        self._outbox = outbox
        self._spool = spool
        self._config = config
        self._clock = clock
        self._on_loss = on_loss
        self._lock = threading.Lock()
        self._told = config()

    def close_batch(self) -> None:
        """Spool what was collected since the last batch, if anything was, or if the configuration has changed since.

        Never raises: a loss becomes a gap.
        """
        with self._lock:
            contents, config = self._outbox.take(), self._config()
            if not contents.empty or config != self._told:
                self._told = config
                self._put(contents)

    def batch(self, contents: Contents, stream_id: UUID, seq: int, closed_at: int) -> Batch:
        """The batch at this place of the stream."""
        # Frames and runs were checked when they were made; checking a hundred thousand values again would be waste.
        return Batch.model_construct(
            schema_=1,
            agent_id=self._agent_id,
            stream_id=stream_id,
            seq=seq,
            sent_at=closed_at,
            agent_version=__version__,
            config=self._config(),
            clock=self._clock(),
            frames=contents.frames,
            runs=contents.runs,
            gaps=contents.gaps,
        )

    def _put(self, contents: Contents) -> bool:
        """Whether all of it is stored."""
        closed_at = time.time_ns() // 1000
        told: tuple[Gap, ...] = ()

        def make(stream_id: UUID, seq: int, gaps: tuple[Gap, ...]) -> bytes:
            nonlocal told
            told = gaps
            whole = Contents(contents.frames, contents.runs, (*gaps, *contents.gaps), contents.marks)
            batch = self.batch(whole, stream_id, seq, closed_at)
            divisible = len(contents.frames) > 1 or len(contents.runs) > 1
            if divisible and (batch.rows > MAX_ROWS or len(batch.runs) > MAX_RUNS):
                raise _TooLargeError
            data = encode(batch)
            if divisible and (len(data) > MAX_COMPRESSED_BYTES or _inflated_bytes(data) > MAX_INFLATED_BYTES):
                raise _TooLargeError
            return data

        try:
            self._spool.put(make, closed_at, contents.marks)
        except _TooLargeError:
            first, second = _parts(contents)
            stored = self._put(first)
            return self._put(second if stored else second.without_logs()) and stored
        except Exception as error:  # whatever it is: the loss is told, and the next batch has its turn
            if isinstance(error, SpoolError):
                log.error("what was collected is lost: %s", error)
            else:
                log.exception("what was collected is lost")
            why = str(error)[:900] if isinstance(error, SpoolError) else type(error).__name__
            since = min((frame.collected_at for frame in contents.frames), default=closed_at)
            self._spool.lost(
                Gap(
                    reason=GapReason.DISK_FULL if isinstance(error, SpoolError) else GapReason.CORRUPT,
                    from_at=since,
                    until_at=closed_at,
                    batches=1,
                    detail=why,
                )
            )
            for gap in contents.gaps:
                self._spool.lost(gap)
            # The logs still have it. What cannot be encoded, though, would be as bad the next time.
            if isinstance(error, SpoolError):
                self._outbox.lose_logs()
            self._on_loss()
            return False
        if told:
            self._on_loss()
        return True


def _parts(contents: Contents) -> tuple[Contents, Contents]:
    """Two parts of it. Marks go with the second, which has what was read of the logs, if anything else can go apart."""
    rest = contents.without_logs()
    runs = len(contents.runs) // 2
    if 0 < len(rest.frames) < len(contents.frames):
        first, second = rest.frames, contents.logs
    else:
        half = len(contents.frames) // 2
        first, second = contents.frames[:half], contents.frames[half:]
    return (
        Contents(first, contents.runs[:runs], contents.gaps),
        Contents(second, contents.runs[runs:], (), contents.marks),
    )


class _TooLargeError(Exception):
    """More than the server accepts at once: two batches are made of it."""


def _inflated_bytes(data: bytes) -> int:
    # The last four bytes of a gzip member (RFC 1952, ISIZE).
    return int.from_bytes(data[-4:], "little")


class Batcher(threading.Thread):
    """Closes a batch at the interval of the configuration, or earlier when there is enough for one."""

    def __init__(
        self,
        assembler: Assembler,
        outbox: Outbox,
        every_seconds: Callable[[], float],
        progress: Progress | None = None,
    ) -> None:
        super().__init__(name="batcher", daemon=True)
        self._progress = progress or Progress()
        self._assembler = assembler
        self._outbox = outbox
        self._every_seconds = every_seconds
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            every = self._every_seconds()
            self._progress.within("batcher", every + _WORK_SECONDS)
            self._outbox.due.wait(every)
            self._assembler.close_batch()

    def stop(self) -> None:
        """Close the last batch and end."""
        self._stopping.set()
        self._outbox.due.set()
        self.join(10)
        self._assembler.close_batch()
