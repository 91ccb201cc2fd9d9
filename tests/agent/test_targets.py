"""Promises of an agent with several targets: each is read by itself, and a dead one delays no other."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from contracts.batch import Status
from contracts.codec import decode
from contracts.metrics import METRICS
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.door import Answer, Asked, Door, configuration
from tests.agent.polling import until
from tests.agent.program import Agent
from tests.servers import NewServer

pytestmark = pytest.mark.processes

DOCUMENT = {
    "upload_every_seconds": 1,
    "pull_every_seconds": 3600,
    "statement_timeout_ms": 500,
    "metrics": {metric.name: {"every_seconds": 1} for metric in METRICS},
}


@contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    """No process of that server runs: it takes connections, and answers nothing."""
    postmaster = psutil.Process(server.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def answer(asked: Asked) -> Answer:
    return Answer(202) if asked.method == "POST" else configuration(1, DOCUMENT, '"1"')


def test_targets_are_read_each_by_itself_and_a_dead_one_delays_no_other(
    tmp_path: Path, server: EmbeddedPostgres, open_door: Door, new_server: NewServer
) -> None:
    open_door.answer = answer
    agent = Agent(tmp_path)

    def read_since(seen: int) -> dict[str, set[Status]]:
        runs = [run for asked in open_door.asked[seen:] if asked.body for run in decode(asked.body).runs]
        return {name: {run.status for run in runs if run.target == name} for name in ("live", "frozen", "away")}

    with new_server() as other, socket.create_server(("127.0.0.1", 0)) as nobody:
        away = f"host=127.0.0.1 port={nobody.getsockname()[1]} connect_timeout=1"
        nobody.close()
        dsns = {"live": server.dsn(), "frozen": other.dsn(), "away": away}
        agent.write(
            "".join(f'[[targets]]\nname = "{name}"\ndsn = "{dsn}"\n' for name, dsn in dsns.items()), open_door.url
        )
        with agent.running() as process:
            until(lambda: Status.OK in read_since(0)["live"] & read_since(0)["frozen"])
            assert read_since(0)["away"] <= {Status.ERROR, Status.MISSED, Status.SKIPPED}
            with frozen(other):
                # Whatever was under way when it froze has come; from here on only the living one is read.
                for _ in range(4):
                    seen = len(open_door.asked)
                    until(lambda seen=seen: Status.OK in read_since(seen)["live"])  # type: ignore[misc]
                assert Status.OK not in read_since(seen)["frozen"]
                # What was due meanwhile is told as missed, and the question under way is given up.
                until(lambda: {Status.MISSED, Status.TIMEOUT} <= read_since(0)["frozen"])
            seen = len(open_door.asked)
            until(lambda: Status.OK in read_since(seen)["frozen"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
