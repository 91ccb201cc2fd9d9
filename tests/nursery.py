"""Forks real programs from a process that has their modules already: a start costs no second of imports.

What follows the imports is the program itself, from its command line to its exit code: `agent.main`, `pganalytics`, or
the loader of `tests.faults.loading`. Its modules are imported when it is asked for the first time. Orders are messages
on a socket, with the descriptors of the program's standard streams; answers go the same way. A program may be given a
clock of its own: a file with the microseconds that its `time.time` and `time.time_ns` are ahead of the machine's.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

#: What is imported for each program before it is forked; the first has its `app`.
_MODULES = {
    "agent": ("agent.main", "agent.identity.enrolment"),
    "pganalytics": (
        *("cli.main", "cli.serve", "cli.demo.command", "cli.config.command", "cli.releases", "cli.replay", "cli.users"),
        *("infra.standalone.server", "infra.standalone.schema", "functions.maintenance.handler"),
    ),
    "loader": ("tests.faults.loading",),
}
_MOST_BYTES = 128 * 1024


@dataclass
class Program:
    """A program that was started, used as a `subprocess.Popen` is."""

    pid: int
    _nursery: Nursery
    returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float) -> int:
        """The exit code, once there is one.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:  # it is not reaped, so the number is still its own, dead or alive
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float) -> int | None:
        if self.returncode is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                ended, _, _ = select.select([descriptor], [], [], seconds)
            finally:
                os.close(descriptor)
            if ended:
                self.returncode = self._nursery.kill(self.pid, 0)
        return self.returncode


class Nursery:
    """Starts and kills programs; whatever still runs is killed at its own end. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(its.fileno())],
                cwd=ROOT,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)

    def start(
        self,
        program: str,
        *arguments: str | Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        clock: Path | None = None,
    ) -> int:
        """The process id of the program, which has this environment besides, and appends what it writes to the log."""
        with Path(os.devnull).open("rb") as nothing, log.open("ab") as file:
            streams = (nothing.fileno(), file.fileno(), file.fileno())
            return self._start(program, arguments, {**os.environ, **(environment or {})}, streams, clock)

    def open(
        self,
        program: str,
        *arguments: str | Path,
        environment: Mapping[str, str],
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
    ) -> Program:
        """The program, with this environment and no other, and with copies of these descriptors."""
        return Program(self._start(program, arguments, environment, (stdin, stdout, stderr)), self)

    def run(
        self, program: str, *arguments: str | Path, environment: Mapping[str, str], given: str = "", timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the program to its end; `given` is its standard input."""
        with (
            tempfile.TemporaryFile("w+") as stdin,
            tempfile.TemporaryFile("w+") as stdout,
            tempfile.TemporaryFile("w+") as stderr,
        ):
            stdin.write(given)
            stdin.seek(0)
            streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
            running = Program(self._start(program, arguments, environment, streams), self)
            try:
                code = running.wait(timeout)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(timeout)
                raise
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess([program, *map(str, arguments)], code, stdout.read(), stderr.read())

    def kill(self, pid: int, number: int = signal.SIGKILL) -> int:
        """Send the signal, wait for the end, and answer the exit code: negative is the signal that ended it."""
        return self._ask({"do": "kill", "pid": pid, "number": int(number)})

    def alive(self, pid: int) -> bool:
        return bool(self._ask({"do": "alive", "pid": pid}))

    def _start(
        self,
        program: str,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        clock: Path | None = None,
    ) -> int:
        order = {
            "do": "start",
            "program": program,
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(environment),
            "clock": clock and str(clock),
        }
        return self._ask(order, streams)

    def _ask(self, order: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], descriptors)
            return int(self._socket.recv(_MOST_BYTES))


@functools.cache
def nursery() -> Nursery:
    """The one that all tests of this process share, made when it is first needed."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _shifted(clock: Path) -> None:
    def ahead(of: Callable[[], int]) -> Callable[[], int]:
        def now() -> int:
            return of() + int(clock.read_text() or 0) * 1000

        return now

    time.time_ns = ahead(time.time_ns)
    time.time = lambda: time.time_ns() / 1e9


def _become(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Be the program until it ends, with the standard streams that came with the order."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    if order["clock"]:
        _shifted(Path(order["clock"]))
    sys.argv = [order["program"], *order["arguments"]]
    module = sys.modules["__main__"] = importlib.import_module(_MODULES[order["program"]][0])
    module.app()


def _child(orders: socket.socket) -> tuple[Mapping[str, Any], Sequence[int]] | None:
    """Obey until there are no more orders; in a child that was forked, the order to start, and its streams."""
    children: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, _MOST_BYTES, 3)
        if not message:
            break
        order = json.loads(message)
        answer = 0
        if order["do"] == "start":
            for name in _MODULES[order["program"]]:
                importlib.import_module(name)
            gc.freeze()  # what is collected never is not copied either
            answer = os.fork()
            if answer == 0:
                return order, descriptors
            children.add(answer)
            for descriptor in descriptors:
                os.close(descriptor)
        elif order["do"] == "kill":
            os.kill(order["pid"], order["number"])  # not reaped before: it is still ours, dead or alive
            answer = os.waitstatus_to_exitcode(os.waitpid(order["pid"], 0)[1])
            children.discard(order["pid"])
        else:
            answer = int(os.waitid(os.P_PID, order["pid"], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None)
        orders.send(str(answer).encode())
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return None


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        started = _child(orders)
    if started:
        _become(*started)


if __name__ == "__main__":
    main()
