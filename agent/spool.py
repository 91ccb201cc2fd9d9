"""Batches on this host's disk that the server has not acknowledged yet.

What `put` has returned from survives a crash at any instruction, and nothing takes the same place in the stream
twice. The state file is the commit: a batch is written apart and made durable, then the state that counts it, then it
gets its name. After a crash the state says whether the batch apart is to be named or thrown away. The state also has
how far each log was read and the gaps that no batch has told of yet, so that these are never ahead of or behind it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

from pydantic import ValidationError

from agent.aside import Aside
from agent.durable import sync, write
from agent.spooled import ASIDE, STATE, Entry, State, entries, name_of
from contracts.batch import Gap, GapReason

log = logging.getLogger(__name__)


class SpoolError(Exception):
    """The spool cannot take the batch; the message names the folder and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What went into the spool since it was opened, and what of it was dropped unsent."""

    spooled_bytes: int = 0
    dropped_batches: int = 0
    dropped_bytes: int = 0


#: Makes a batch's bytes, once its place is known: stream, seq, and the gaps it is to tell of.
Make = Callable[[UUID, int, tuple[Gap, ...]], bytes]


class Spool:
    """A folder of batches in the order of their stream. One process has it at a time; its threads may share it."""

    def __init__(self, directory: Path, max_bytes: int, max_age_seconds: float) -> None:
        """Open the folder, and finish what a crash interrupted.

        Raises:
            SpoolError: it cannot be made, read or written, or another process has it.
        """
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age_us = int(max_age_seconds * 1_000_000)
        self._lock = threading.RLock()
        self._held: int | None = None
        self._aside = Aside(directory / ASIDE, max_bytes, self._max_age_us)
        #: Set whenever there is something to send.
        self.filled = threading.Event()
        #: Counted under the spool's lock; anybody may read it.
        self.passed = Passed()
        try:
            for folder in (directory, self._aside.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = _hold(directory)
        except OSError as error:
            raise SpoolError(f"the spool {directory}: {error.strerror}") from error
        try:
            self._state = self._recover()
        except OSError as error:
            self.close()
            raise SpoolError(f"the spool {directory}: {error.strerror}") from error
        if self.entries():
            self.filled.set()

    @property
    def stream_id(self) -> UUID:
        return self._state.stream_id

    @property
    def marks(self) -> Mapping[str, str]:
        """How far each log was read with the batches up to now."""
        return self._state.marks

    @property
    def set_aside(self) -> int:
        """How many batches lie in the folder of those that are not sent."""
        return self._aside.batches

    def close(self) -> None:
        """Let another process have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def put(self, make: Make, closed_at: int, marks: Mapping[str, str]) -> Entry:
        """Store a batch at the stream's next place; when this returns, it is durable.

        Raises:
            SpoolError: it could not be stored (the disk is full, say); its place in the stream stays free, or is
                never used again.
        """
        with self._lock:
            seq = self._state.next_seq
            data = make(self._state.stream_id, seq, self._state.gaps)
            try:
                made_room = self._make_room(len(data))
            except OSError as error:
                raise SpoolError(f"the spool {self._directory}: {error.strerror}") from error
            if made_room:
                data = make(self._state.stream_id, seq, self._state.gaps)  # what made room is a gap, too
            name = name_of(seq, closed_at)
            state = State(
                stream_id=self._state.stream_id,
                next_seq=seq + 1,
                name=name,
                marks={**self._state.marks, **marks},
            )
            apart = self._apart(seq)
            try:
                write(apart, data)
                self._save(state)
                apart.rename(self._directory / name)
                sync(self._directory)
            except OSError as error:
                if self._state is not state:
                    apart.unlink(missing_ok=True)
                raise SpoolError(f"the spool {self._directory}: {error.strerror}") from error
            self.filled.set()
            self.passed = replace(self.passed, spooled_bytes=self.passed.spooled_bytes + len(data))
            return Entry(self._directory / name, seq, closed_at, len(data))

    def lost(self, gap: Gap) -> None:
        """Remember lost data until the next batch tells of it; kept on disk as far as the disk allows."""
        with self._lock:
            state = self._state.model_copy(update={"gaps": _joined(self._state.gaps, gap)})
            try:
                self._save(state)
            except OSError as error:
                log.error("the gap is kept in memory only: %s", error.strerror)
                self._state = state

    def entries(self) -> list[Entry]:
        """What waits, oldest first."""
        with self._lock:
            return [entry for entry in entries(self._directory) if entry.seq < self._state.next_seq]

    def oldest(self) -> Entry | None:
        with self._lock:
            entries = self.entries()
            if not entries:
                self.filled.clear()
            return entries[0] if entries else None

    def done(self, entry: Entry) -> None:
        """The server has it."""
        with self._lock:
            entry.path.unlink(missing_ok=True)

    def put_aside(self, entry: Entry, reason: GapReason, detail: str, status: int | None = None) -> None:
        """It will never be taken: set it aside with the reason, and the server's answer, and tell of the gap."""
        with self._lock:
            try:
                self._aside.explain(entry.path, reason, detail, status)
            except OSError as error:  # the gap has the reason, too
                log.warning("%s is set aside without its reason beside it: %s", entry.path.name, error.strerror)
            self.lost(_gap(reason, [entry], detail[:900]))
            self._aside.take(entry.path)

    def _apart(self, seq: int) -> Path:
        return self._directory / f"{seq:012}.part"

    def _make_room(self, needed: int) -> bool:
        now = time.time_ns() // 1000
        entries = self.entries()
        expired = [entry for entry in entries if entry.closed_at < now - self._max_age_us]
        if expired:
            self._drop(expired, GapReason.SPOOL_AGE)
        # Not simply the first ones: the clock may have been set back.
        kept = [entry for entry in entries if entry not in expired]
        excess = sum(entry.size_bytes for entry in kept) + needed - self._max_bytes
        crowded = []
        while excess > 0 and kept:
            crowded.append(kept.pop(0))
            excess -= crowded[-1].size_bytes
        if crowded:
            self._drop(crowded, GapReason.SPOOL_FULL)
        return bool(expired or crowded)

    def _drop(self, entries: list[Entry], reason: GapReason) -> None:
        # The gap first: after a crash in between, a batch that arrives after all is better than one missed in silence.
        self.lost(_gap(reason, entries))
        for entry in entries:
            entry.path.unlink(missing_ok=True)
        self.passed = replace(
            self.passed,
            dropped_batches=self.passed.dropped_batches + len(entries),
            dropped_bytes=self.passed.dropped_bytes + sum(entry.size_bytes for entry in entries),
        )
        log.warning("dropped the %d oldest batches from the spool: %s", len(entries), reason)

    def _recover(self) -> State:
        path = self._directory / STATE
        try:
            self._state = State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            self._save(State(stream_id=uuid4(), gaps=self._set_aside_strangers()))
        except ValidationError as error:
            path.rename(path.with_suffix(f".corrupt-{time.time_ns()}"))
            log.error(
                "the spool's state was corrupt and is set aside: a new stream begins (%d errors)", error.error_count()
            )
            return self._recover()
        counted = self._apart(self._state.next_seq - 1)
        if self._state.name is not None and counted.exists():
            counted.rename(self._directory / self._state.name)
        for apart in self._directory.glob("*.part"):
            apart.unlink()
        return self._state

    def _set_aside_strangers(self) -> tuple[Gap, ...]:
        # Batches without a state belong to a stream whose places are not known any more.
        strangers = entries(self._directory)
        detail = "the spool's state was lost, and with it the stream"
        for stranger in strangers:
            self._aside.explain(stranger.path, GapReason.CORRUPT, detail)
        self._aside.take(*(stranger.path for stranger in strangers))
        return (_gap(GapReason.CORRUPT, strangers, detail),) if strangers else ()

    def _save(self, state: State) -> None:
        scratch = self._directory / f"{STATE}.new"
        write(scratch, state.model_dump_json().encode())
        scratch.rename(self._directory / STATE)
        sync(self._directory)
        self._state = state


def _hold(directory: Path) -> int:
    """An open folder with a lock that ends with the process."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SpoolError(f"the spool {directory}: another agent has it") from error
    return descriptor


def _joined(gaps: tuple[Gap, ...], gap: Gap) -> tuple[Gap, ...]:
    """The gaps and this one, as one with the last if both are of one kind: a full disk loses a batch a minute."""
    last = gaps[-1] if gaps else None
    if last is None or (last.reason, last.detail, last.target) != (gap.reason, gap.detail, gap.target):
        return (*gaps, gap)
    stretch = {"from_at": min(last.from_at, gap.from_at), "until_at": max(last.until_at, gap.until_at)}
    return (*gaps[:-1], last.model_copy(update={**stretch, "batches": last.batches + gap.batches}))


def _gap(reason: GapReason, entries: list[Entry], detail: str | None = None) -> Gap:
    times = [entry.closed_at for entry in entries]
    return Gap(reason=reason, from_at=min(times), until_at=max(times), batches=len(entries), detail=detail or None)
