"""Batches on this host's disk that the server has not acknowledged yet.

What `put` has returned from survives a crash at any instruction, and nothing takes the same place in the stream
twice. The state file is the commit: a batch is written apart and made durable, then the state that counts it, then it
gets its name. After a crash the state says whether the batch apart is to be named or thrown away. The state also has
how far each log was read and the gaps that no batch has told of yet, so that these are never ahead of or behind it.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

from pydantic import ValidationError

from agent.aside import Aside
from agent.durable import sync, write
from agent.gaps import gap_of, joined
from agent.held import HeldFolder
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
        self._aside = Aside(directory / ASIDE, max_bytes, self._max_age_us)
        self._folder = HeldFolder(directory, self._aside.folder)
        #: Set whenever there is something to send.
        self.filled = threading.Event()
        #: Counted under the spool's lock; anybody may read it.
        self.passed = Passed()
        # What is to lie in the folder, by places, with the instants of their closing: somebody may take it away.
        self._waiting: dict[int, int] = {}
        try:
            self._folder.take()
        except OSError as error:
            raise SpoolError(f"the spool {directory}: {error.strerror}") from error
        try:
            self._state = self._recover()
        except OSError as error:
            self.close()
            raise SpoolError(f"the spool {directory}: {error.strerror}") from error
        self._waiting = {entry.seq: entry.closed_at for entry in self.entries()}
        if self._waiting:
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
        self._folder.release()

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
                self._folder.take()  # somebody may have removed it
                told = self._tell_of_vanished() | self._make_room(len(data))
            except OSError as error:
                raise SpoolError(f"the spool {self._directory}: {error.strerror}") from error
            if told:
                data = make(self._state.stream_id, seq, self._state.gaps)  # with the gaps of just now
            name = name_of(seq, closed_at)
            carried = {of: gaps for of, gaps in self._state.carried.items() if of in self._waiting}
            state = State(
                stream_id=self._state.stream_id,
                next_seq=seq + 1,
                name=name,
                marks={**self._state.marks, **marks},
                carried={**carried, seq: self._state.gaps} if self._state.gaps else carried,
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
            self._waiting[seq] = closed_at
            self.filled.set()
            self.passed = replace(self.passed, spooled_bytes=self.passed.spooled_bytes + len(data))
            return Entry(self._directory / name, seq, closed_at, len(data))

    def lost(self, gap: Gap) -> None:
        """Remember lost data until the next batch tells of it; kept on disk as far as the disk allows."""
        self._lost(gap)

    def _lost(self, gap: Gap, batches: Iterable[int] = ()) -> None:
        # What these batches were to tell of themselves is told again.
        with self._lock:
            carried = dict(self._state.carried)
            again = [each for seq in batches for each in carried.pop(seq, ())]
            gaps = functools.reduce(joined, [*again, gap], self._state.gaps)
            state = self._state.model_copy(update={"gaps": gaps, "carried": carried})
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
            self._waiting.pop(entry.seq, None)

    def put_aside(self, entry: Entry, reason: GapReason, detail: str, status: int | None = None) -> None:
        """It will never be taken: set it aside with the reason, and the server's answer, and tell of the gap."""
        with self._lock:
            try:
                self._aside.explain(entry.path, reason, detail, status)
            except OSError as error:  # the gap has the reason, too
                log.warning("%s is set aside without its reason beside it: %s", entry.path.name, error.strerror)
            self._lost(gap_of(reason, [entry.closed_at], detail[:900]), [entry.seq])
            self._waiting.pop(entry.seq, None)
            self._aside.take(entry.path)

    def _apart(self, seq: int) -> Path:
        return self._directory / f"{seq:012}.part"

    def _tell_of_vanished(self) -> bool:
        # The stream goes on where it was: which place is next is in memory, too, and no place is used twice.
        there = {entry.seq for entry in self.entries()}
        vanished = [seq for seq in self._waiting if seq not in there]
        if vanished:
            closed_at = [self._waiting.pop(seq) for seq in vanished]
            self._lost(gap_of(GapReason.CORRUPT, closed_at, "somebody removed batches from the spool"), vanished)
            log.error("somebody removed %d batches from the spool that were not sent yet", len(vanished))
        return bool(vanished)

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
        self._lost(gap_of(reason, [entry.closed_at for entry in entries]), [entry.seq for entry in entries])
        for entry in entries:
            entry.path.unlink(missing_ok=True)
            self._waiting.pop(entry.seq, None)
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
        closed_at = [stranger.closed_at for stranger in strangers]
        return (gap_of(GapReason.CORRUPT, closed_at, detail),) if strangers else ()

    def _save(self, state: State) -> None:
        scratch = self._directory / f"{STATE}.new"
        write(scratch, state.model_dump_json().encode())
        scratch.rename(self._directory / STATE)
        sync(self._directory)
        self._state = state
