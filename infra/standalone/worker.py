"""Feeds the loader from the queue, as Lambda's event source mapping of SQS does."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from infra.standalone.events import Event, FunctionContext, queue_event
from infra.standalone.queue import Message, Queue

Loader = Callable[[Event, FunctionContext], dict[str, Any]]

#: The longest pause while nothing can be loaded, and the longest delay of a message that alone fails.
MAX_PAUSE_SECONDS = 30.0
MAX_DELAY_SECONDS = 300.0

logger = logging.getLogger(__name__)


class Worker(threading.Thread):
    """Loads what the queue gives, until told to stop; then it finishes what it has in hand."""

    def __init__(
        self,
        queue: Queue,
        loader: Loader,
        *,
        first_pause_seconds: float = 0.5,
        max_pause_seconds: float = MAX_PAUSE_SECONDS,
    ) -> None:
        # A daemon: a loader that hangs beyond the time of the drain must not keep the process.
        super().__init__(name="loader", daemon=True)
        self._queue = queue
        self._loader = loader
        self._first_pause = first_pause_seconds
        self._max_pause = max_pause_seconds
        self._failures = 0
        self._stopping = threading.Event()
        # What the queue is still to be told of messages in hand: untold, they would be hidden for a quarter of an hour.
        self._owed: list[Callable[[], None]] = []

    def run(self) -> None:
        while not self._stopping.is_set():
            if not self._owed:
                self._queue.wait(self._stopping.is_set)
            if self._stopping.is_set():
                return
            try:
                self._work()
            except Exception:  # a full disk under the queue, say: loading must go on once that is mended
                logger.exception("the queue failed")
                self._failures += 1
            if self._failures:
                self._stopping.wait(self._pause_seconds())

    def stop(self, timeout_seconds: float) -> bool:
        """Finish what is in hand; False if that takes longer."""
        self._stopping.set()
        self._queue.wake()
        self.join(timeout_seconds)
        return not self.is_alive()

    def _work(self) -> None:
        self._settle()
        # While all fails, one message at a time asks whether it is over: each may take a connection's deadline.
        messages = self._queue.receive(1 if self._failures else 10)
        if not messages:
            return
        failed = self._load(messages)
        done = [message.id for message in messages if message.id not in failed]
        self._owed.append(partial(self._queue.delete, done))
        if failed and not done:
            # Nothing at all could be loaded: that is the store's fault or the bucket's, and no message's.
            self._failures += 1
            self._owed.append(partial(self._queue.release, sorted(failed), 0, counted=False))
        else:
            self._failures = 0
            for message in messages:
                if message.id in failed:
                    delay = min(MAX_DELAY_SECONDS, 2.0**message.receives)
                    self._owed.append(partial(self._queue.release, [message.id], delay))
        self._settle()

    def _settle(self) -> None:
        while self._owed:
            self._owed[0]()
            del self._owed[0]

    def _load(self, messages: Sequence[Message]) -> set[int]:
        try:
            answer = self._loader(queue_event(messages), FunctionContext("ingest-loader"))
            return {int(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]}
        except Exception:  # whatever it was, the messages stay
            logger.exception("the loader failed")
            return {message.id for message in messages}

    def _pause_seconds(self) -> float:
        # Half of it by chance, so that servers of one store do not come back in step.
        full = min(self._max_pause, self._first_pause * 2.0 ** min(self._failures - 1, 16))
        return full * random.uniform(0.5, 1)  # noqa: S311 - no secret depends on it
