"""A program that uses a spool and is killed: at random instants, or before each change of the disk in turn.

`python -m tests.agent.crashing FOLDER random 60` or `… FOLDER each`. What it promised stands in FOLDER/promised, what
it sent in FOLDER/sent: a line each, `stream seq content`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from agent import spool as spooling
from agent.spool import Spool

#: What one child puts before it ends by itself.
_ROUNDS = 4


class Promises:
    """A file of lines that survives the death of its writer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, stream: UUID, seq: int, content: str) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{stream} {seq} {content}\n".encode())
        os.close(descriptor)

    def read(self) -> Iterator[tuple[tuple[str, int], str]]:
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            stream, seq, content = line.split()
            yield (stream, int(seq)), content


def put(spool: Spool, content: str, promised: Promises) -> None:
    spool.put(lambda *_: content.encode(), time.time_ns() // 1000, {"db": content})
    promised.add(spool.stream_id, spool._state.next_seq - 1, content)


def send(spool: Spool, sent: Promises) -> None:
    entry = spool.oldest()
    if entry is not None:
        sent.add(spool.stream_id, entry.seq, entry.path.read_text())
        spool.done(entry)


def verify(folder: Path) -> None:
    """What holds after any crash."""
    spool = Spool(folder / "spool", 10**9, 10**6)
    promised, sent = dict(Promises(folder / "promised").read()), list(Promises(folder / "sent").read())
    waiting = [((str(spool.stream_id), entry.seq), entry.path.read_text()) for entry in spool.entries()]
    existing: dict[tuple[str, int], str] = {}
    for place, content in [*sent, *waiting]:
        assert existing.setdefault(place, content) == content, f"{place} holds both {existing[place]} and {content}"
    for place, content in promised.items():
        assert existing.get(place) == content, f"{content} was promised at {place}; there is {existing.get(place)}"
    assert {stream for stream, _ in existing} <= {str(spool.stream_id)}, "the stream is another"
    numbers = sorted(seq for _, seq in existing)
    assert numbers == list(range(len(numbers))), f"places are missing: {numbers}"
    last = existing[max(existing)] if existing else None
    assert spool.marks.get("db") == last, f"the mark is at {spool.marks.get('db')}, the last batch at {last}"
    spool.close()


def forked(work: Callable[[], None]) -> int:
    """The process that does the work."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def at_random(folder: Path, run: int) -> None:
    def work() -> None:
        # kill -9 spares the page cache: without waiting for the disk more happens before each death.
        os.fsync = lambda fd: None  # noqa: ARG005 - its own name
        spool = Spool(folder / "spool", 10**9, 10**6)
        sent, promised = Promises(folder / "sent"), Promises(folder / "promised")

        def sender() -> None:
            while True:
                send(spool, sent)

        threading.Thread(target=sender, daemon=True).start()
        for number in range(10**6):
            put(spool, f"{run}-{number}", promised)

    pid = forked(work)
    threading.Event().wait(random.uniform(0.001, 0.03))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself: {status}"


def at_step(folder: Path, step: int, *, before: bool) -> bool:
    """Die at that change of the disk; False: there are not so many."""

    def work() -> None:
        steps = iter(range(10**6))

        def dying(change: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*arguments: Any, **options: Any) -> Any:
                here = next(steps) == step
                if here and before:
                    os._exit(9)
                result = change(*arguments, **options)
                if here:
                    os._exit(9)
                return result

            return changed

        module: Any = spooling
        module.write, module.sync = dying(module.write), dying(module.sync)
        Path.rename, Path.unlink = dying(Path.rename), dying(Path.unlink)  # type: ignore[method-assign]
        spool = Spool(folder / "spool", 10**9, 10**6)
        for number in range(_ROUNDS):
            put(spool, f"{step}-{before}-{number}", Promises(folder / "promised"))
            if number % 2:
                send(spool, Promises(folder / "sent"))

    _, status = os.waitpid(forked(work), 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, 9}, f"it failed by itself: {code}"
    return code == 9


def main(folder: Path, how: str, kills: int) -> None:
    if how == "random":
        for run in range(kills):
            at_random(folder, run)
            verify(folder)
        return
    died = 0
    for before in (True, False):
        step = 0
        while at_step(folder, step, before=before):
            verify(folder)
            step += 1
            died += 1
    sys.stdout.write(f"{died}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int((*sys.argv, "60")[3]))
