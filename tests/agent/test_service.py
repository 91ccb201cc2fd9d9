"""Promises of the running service: new settings without a new process, and signs of life for systemd while it works."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.polling import until
from tests.agent.program import Agent
from tests.nursery import ROOT

pytestmark = pytest.mark.processes

_NOWHERE = '[upload]\ntransport = "s3"\nbucket = "none"\n'


class Systemd:
    """What systemd is for a service of `Type=notify`: a socket, a folder and a watchdog."""

    def __init__(self, folder: Path, door: socket.socket) -> None:
        self.runtime = folder / "runtime"
        self.runtime.mkdir()
        self._door = door
        self.environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(folder / "notify"),
            "RUNTIME_DIRECTORY": str(self.runtime),
            "WATCHDOG_USEC": "800000",
        }

    def next(self, *, seconds: float = 20) -> str:
        self._door.settimeout(seconds)
        return self._door.recv(1000).decode()

    def taken(self) -> str:
        return (self.runtime / "settings.sha256").read_text().strip()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        yield Systemd(tmp_path, door)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    made = Agent(tmp_path)
    made.write(_NOWHERE, url=None)
    return made


@contextmanager
def running(agent: Agent, systemd: Systemd) -> Iterator[subprocess.Popen[bytes]]:
    with agent.log.open("wb") as log:
        process = subprocess.Popen(agent.command("run"), cwd=ROOT, stdout=log, stderr=log, env=systemd.environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_systemd_is_told_when_it_is_up_that_it_lives_and_when_it_stops(agent: Agent, systemd: Systemd) -> None:
    with running(agent, systemd) as process:
        assert systemd.next() == "READY=1"
        assert systemd.taken() == sha256(agent.settings)
        assert [systemd.next(), systemd.next()] == ["WATCHDOG=1"] * 2
        process.send_signal(signal.SIGTERM)
        until(lambda: systemd.next() == "STOPPING=1")
        assert process.wait(30) == 0


def test_one_that_does_not_get_on_gives_no_sign_of_life(agent: Agent, systemd: Systemd) -> None:
    # The schedule is to be heard of in no time, which it never is.
    stuck = "import agent.schedule as s; s._STUCK_SECONDS = -1.0; from agent.main import app; app()"
    command = [agent.command()[0], "-c", stuck, *agent.command("run")[3:]]
    with agent.log.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=systemd.environment)
    try:
        assert systemd.next() == "READY=1"
        until(lambda: "no sign of life from schedule" in agent.log.read_text())
        with pytest.raises(TimeoutError):
            systemd.next(seconds=1)
    finally:
        process.kill()
        process.wait(30)


def test_new_settings_are_taken_over_by_the_same_process(agent: Agent, systemd: Systemd) -> None:
    with running(agent, systemd) as process:
        assert systemd.next() == "READY=1"
        started = systemd.runtime.stat().st_mtime_ns
        agent.settings.write_text(agent.settings.read_text() + "[spool]\nmax_age_hours = 24.0\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: systemd.taken() == sha256(agent.settings))
        assert "new settings" in agent.log.read_text()
        assert process.poll() is None
        assert systemd.runtime.stat().st_mtime_ns == started
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("wrong", ["nonsense", "host.nonsense = 1"])
def test_settings_it_cannot_run_with_are_refused_and_those_before_stay(
    agent: Agent, systemd: Systemd, wrong: str
) -> None:
    with running(agent, systemd) as process:
        assert systemd.next() == "READY=1"
        before = systemd.taken()
        agent.settings.write_text(wrong)
        process.send_signal(signal.SIGHUP)
        until(lambda: "the settings are refused, those before stay" in agent.log.read_text())
        assert systemd.taken() == before
        assert systemd.next() == "WATCHDOG=1"
        assert process.poll() is None
