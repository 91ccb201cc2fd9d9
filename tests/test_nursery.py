"""Programs from the nursery behave as processes that a shell started."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from contracts.version import __version__
from tests.nursery import nursery

KEPT = {"PATH": os.environ["PATH"]}


def test_a_program_has_its_streams_and_its_exit_code() -> None:
    done = nursery().run("pganalytics", "version", environment=KEPT, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pganalytics {__version__}\n", "")
    wrong = nursery().run("pganalytics", "migrate", environment=KEPT, timeout=60)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("pganalytics: PGANALYTICS_STORE_DSN: ")


def test_a_program_has_the_environment_that_it_was_given_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=/nonexistent")
    given = {**KEPT, "PGANALYTICS_STORE_DSN": "x=y"}
    assert "missing" in nursery().run("pganalytics", "migrate", environment=KEPT, timeout=60).stderr
    assert "not a connection string" in nursery().run("pganalytics", "migrate", environment=given, timeout=60).stderr


def test_a_program_reads_its_standard_input_and_may_be_killed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    options = ("enrol", "--token-file", "-", "--server", "https://127.0.0.1:9", "--agent-id", "db-1")
    state = ("--state-directory", tmp_path)
    with (tmp_path / "said").open("wb") as said:
        told = said.fileno()
        waiting = nursery().open("agent", *options, *state, environment=KEPT, stdin=reading, stdout=told, stderr=told)
    os.close(reading)
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.1)
    waiting.kill()
    os.close(writing)
    assert waiting.wait(30) == -signal.SIGKILL
    assert waiting.poll() == -signal.SIGKILL
