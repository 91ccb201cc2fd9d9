"""Promises of the agent's signals: whichever thread gets one, it is obeyed."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path

import psutil
import pytest

from tests.agent.polling import until
from tests.agent.program import Agent

pytestmark = pytest.mark.processes


def tell_thread(pid: int, thread: int, number: signal.Signals) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.tgkill(pid, thread, int(number)) == 0, ctypes.get_errno()


def test_a_signal_that_another_thread_gets_ends_the_agent_in_order(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.write("", url=None)
    agent.settings.write_text(agent.settings.read_text() + '[upload]\ntransport = "s3"\nbucket = "none"\n')
    with agent.running() as process:
        until(lambda: "watching" in agent.log.read_text())
        others = [each.id for each in psutil.Process(process.pid).threads() if each.id != process.pid]
        tell_thread(process.pid, others[-1], signal.SIGTERM)
        assert process.wait(30) == 0
    assert "stopping" in agent.log.read_text()
