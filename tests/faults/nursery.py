"""Forks real programs from a process that has their modules already: a start costs no second of imports.

What follows the imports is the program itself, from its command line on: `agent.main`, `pganalytics`, or the loader of
`tests.faults.loading`. Orders come as lines of JSON, answers go the same way. A program may be given a clock of its
own: a file with the microseconds that its `time.time` and `time.time_ns` are ahead of the machine's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class Nursery:
    """Starts and kills programs; whatever still runs is killed at the end of the block. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def start(
        self,
        program: str,
        *arguments: str | Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        clock: Path | None = None,
    ) -> int:
        """The process id of the program, which appends what it writes to the log."""
        return self._ask(
            do="start",
            program=program,
            arguments=[str(argument) for argument in arguments],
            log=str(log),
            environment=dict(environment or {}),
            clock=clock and str(clock),
        )

    def kill(self, pid: int, number: int = signal.SIGKILL) -> int:
        """Send the signal, wait for the end, and answer the exit code: negative is the signal that ended it."""
        return self._ask(do="kill", pid=pid, number=int(number))

    def alive(self, pid: int) -> bool:
        return bool(self._ask(do="alive", pid=pid))

    def _ask(self, **order: Any) -> int:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def _shifted(clock: Path) -> None:
    def ahead(of: Callable[[], int]) -> Callable[[], int]:
        def now() -> int:
            return of() + int(clock.read_text() or 0) * 1000

        return now

    time.time_ns = ahead(time.time_ns)
    time.time = lambda: time.time_ns() / 1e9


def _become(order: Mapping[str, Any], programs: Mapping[str, Callable[[Sequence[str]], object]]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, number)
    os.environ.update(order["environment"])
    time.tzset()
    if order["clock"]:
        _shifted(Path(order["clock"]))
    programs[order["program"]](order["arguments"])


def main() -> None:
    import agent.main
    import cli.main
    from functions.maintenance import handler as _  # noqa: F401 - imported here once, and not by each server
    from infra.standalone import server  # noqa: F401 - the same
    from tests.faults import loading

    programs: dict[str, Callable[[Sequence[str]], object]] = {
        "agent": lambda arguments: agent.main.app(list(arguments)),
        "pganalytics": lambda arguments: cli.main.app(list(arguments)),
        "loader": lambda arguments: loading.main(*map(Path, arguments)),
    }
    children: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        answer = 0
        if order["do"] == "start":
            answer = os.fork()
            if answer == 0:
                code = 1
                try:
                    _become(order, programs)
                    code = 0
                except SystemExit as ended:
                    code = ended.code if isinstance(ended.code, int) else 1
                except BaseException:  # noqa: BLE001 - the traceback is the log's
                    sys.excepthook(*sys.exc_info())
                finally:
                    os._exit(code)
            children.add(answer)
        elif order["do"] == "kill":
            os.kill(order["pid"], order["number"])  # not reaped before: it is still ours, dead or alive
            answer = os.waitstatus_to_exitcode(os.waitpid(order["pid"], 0)[1])
            children.discard(order["pid"])
        else:
            answer = int(os.waitid(os.P_PID, order["pid"], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
