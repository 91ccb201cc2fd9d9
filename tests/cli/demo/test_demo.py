"""The whole system as processes: what pgbench did stands in the store, and nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import psutil
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.postgres]


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None,
    )


def _left(folder: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter() if str(folder) in " ".join(_command(each))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    found = Path(tempfile.mkdtemp(prefix="pganalytics-test-"))
    found.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(found))
    return found


def test_the_store_has_exactly_what_pgbench_did(folder: Path) -> None:
    with _start("--once", "--json", "--transactions", "500") as demo:
        out, err = demo.communicate(timeout=240)
    assert demo.returncode == 0, err
    result = json.loads(out)
    assert result["ok"] is True
    measured = result["measured"]
    assert result["pgbench"]["transactions"] == measured["table_inserts"] == measured["statement_calls"] == 500
    assert measured["commits"] >= 500
    assert all(result["rows"][metric] for metric in ("table_stats", "index_stats", "host_cpu", "relation", "database"))
    assert _left(folder) == []
    assert list(folder.iterdir()) == []


def test_ctrl_c_leaves_nothing_behind(folder: Path) -> None:
    with _start() as demo:
        deadline = monotonic() + 120
        while not any("agent.main" in _command(each) for each in psutil.Process(demo.pid).children(recursive=True)):
            assert monotonic() < deadline
            assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=90)
    assert (demo.returncode, "nothing is left running" in err) == (0, True)
    assert _left(folder) == []
    assert list(folder.iterdir()) == []
