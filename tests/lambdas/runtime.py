"""Functions as Lambda runs them: the true runtime client, the unzipped artifact, and a stand-in for the Runtime API.

The path is what it is in Lambda: the artifact (/var/task), the runtime client in a folder of its own (/var/runtime),
the standard library, and nothing else. Nothing is written beside the sources, for there the artifact is read only.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from tests.aws import REGION

#: The runtime client, and what it needs.
CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")

_API = "/2018-06-01/runtime"
_START_SECONDS = 60.0


class FunctionError(Exception):
    """What Lambda tells of an invocation that failed: the kind of error, and its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Deployed:
    """A function as it is deployed: its unzipped artifact, its handler, what it is told."""

    task: Path
    handler: str
    environment: Mapping[str, str]
    name: str = "function"
    timeout_seconds: float = 29
    memory_mb: int = 1024


@dataclass(frozen=True)
class _Told:
    """What the runtime client told: `what` is `response`, `error`, `init/error`, or `end` for its process."""

    what: str
    id: str
    said: Any


class _RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, function: Deployed) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.function = function
        self.events: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self.told: queue.Queue[_Told] = queue.Queue()

    def handle_error(self, request: object, client_address: object) -> None:
        """A process that was ended has left a connection behind; whatever else went wrong, no answer comes."""


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body would wait 40 ms for the head's acknowledgement
    server: _RuntimeApi

    def do_GET(self) -> None:
        assert self.path == f"{_API}/invocation/next", self.path
        waiting = self.server.events.get()
        if waiting is None:
            self.close_connection = True
            return
        id_, event = waiting
        deadline = time.time() + self.server.function.timeout_seconds
        self._answer(
            200,
            event,
            {
                "Lambda-Runtime-Aws-Request-Id": id_,
                "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": _arn(self.server.function.name),
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
            },
        )

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"]))
        *_, id_, what = self.path.split("/")
        told = _Told("init/error" if self.path == f"{_API}/init/error" else what, id_, json.loads(said))
        self._answer(202, b'{"status":"OK"}', {})
        self.server.told.put(told)

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Running:
    """One execution environment of a function. It has one event at a time."""

    def __init__(self, function: Deployed, api: _RuntimeApi, process: subprocess.Popen[bytes], log: Path) -> None:
        self.function = function
        self._api = api
        self._process = process
        self._log = log
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def invoke(self, event: object) -> Any:
        """The answer to an event.

        Raises:
            FunctionError: the handler raised, it could not be imported, its process ended, or its time was up.
        """
        with self._lock:
            number = next(self._ids)
            id_ = f"00000000-0000-4000-8000-{number:012}"
            self._api.events.put((id_, json.dumps(event).encode()))
            seconds = self.function.timeout_seconds + (_START_SECONDS if number == 1 else 0)
            try:
                told = self._api.told.get(timeout=seconds)
            except queue.Empty:
                self._process.kill()
                raise FunctionError("Sandbox.Timedout", f"timed out after {seconds} seconds") from None
        if told.what == "response":
            assert told.id == id_
            return told.said
        if told.what == "end":
            raise FunctionError("Runtime.ExitError", f"exited with {told.said}: {self.log[-2000:]}")
        raise FunctionError(told.said["errorType"], told.said["errorMessage"])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What the function has written so far, to either stream."""
        return self._log.read_text()

    def _watch(self) -> None:
        self._api.told.put(_Told("end", "", self._process.wait()))


@contextmanager
def running(function: Deployed, runtime: Path | None = None) -> Iterator[Running]:
    """Start the function in an environment of its own, which is gone at the end of the block."""
    client = runtime or runtime_client()
    with tempfile.TemporaryDirectory(prefix="lambda-") as scratch, _RuntimeApi(function) as api:
        threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        log = Path(scratch, "log")
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-P", "-m", "awslambdaric", function.handler],
                cwd=function.task,
                env=_environment(function, client, f"127.0.0.1:{api.server_port}", scratch),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Running(function, api, process, log)
        finally:
            process.kill()
            process.wait(30)
            api.events.put(None)
            api.shutdown()


@functools.cache
def runtime_client() -> Path:
    """A folder with the runtime client and what it needs, for this process; modules stand compiled beside it."""
    folder = tempfile.TemporaryDirectory(prefix="lambda-runtime-")
    _kept.append(folder)
    for name in CLIENT:
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                target = Path(folder.name, file)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(file.locate()), target)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _environment(function: Deployed, client: Path, api: str, scratch: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "TMPDIR": scratch,
        "PYTHONPATH": f"{function.task}:{client}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(function.task),
        "LAMBDA_RUNTIME_DIR": str(client),
        "AWS_LAMBDA_RUNTIME_API": api,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "test",
        "_HANDLER": function.handler,
        **function.environment,
    }


def _arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:000000000000:function:{name}"
