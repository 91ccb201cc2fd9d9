"""The agent's command, as a process on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.batch import Batch
from contracts.metrics import METRICS
from infra.standalone.embedded import EmbeddedPostgres

pytestmark = pytest.mark.processes


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent.main", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def settings(tmp_path: Path, server: EmbeddedPostgres) -> Path:
    (tmp_path / "postgresql.log").touch()
    file = tmp_path / "agent.toml"
    file.write_text(
        f"""
        agent_id = "db-1"
        state_directory = "{tmp_path}/state"
        [[targets]]
        name = "main"
        dsn = "{server.dsn()}"
        log.files = ["{tmp_path}/*.log"]
        """
    )
    return file


def test_once_prints_a_batch_of_every_metric(settings: Path) -> None:
    done = run("once", "--json", "--settings", str(settings))
    assert done.returncode == 0, done.stderr
    batch = Batch.model_validate_json(done.stdout)
    assert {each.collector for each in batch.runs} == {metric.name for metric in METRICS}


def test_check_says_what_is_missing_and_how_to_mend_it(settings: Path) -> None:
    done = run("check", "--json", "--settings", str(settings))
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert "url and token_file" in findings["server"]["mend"]
    assert findings["target main"]["mend"] == "create extension pg_stat_statements"


def test_check_names_a_server_that_is_away(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('agent_id = "a"\n[[targets]]\nname = "gone"\ndsn = "host=/nowhere"\n')
    done = run("check", "--settings", str(file))
    assert done.returncode == 1
    assert "target gone" in done.stdout


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("agent_id = 1", "agent_id"),
        ('agent_id = "a"\nstrange = 1', "strange"),
        ("agent_id =", "not TOML"),
        ('agent_id = "a"\n[[targets]]\nname = "m"\ndsn = "password=hunter2"', "targets[0].dsn"),
        ('agent_id = "a"\n[[targets]]\nname = "host"', "targets[0].name"),
        ('agent_id = "a"\n[server]\nurl = "http://example.org"\ntoken_file = "t"', "https://"),
        ('agent_id = "a"\n[host]\nenabled = false', "nothing to watch"),
    ],
)
def test_bad_settings_are_named_without_a_traceback(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(content)
    done = run("run", "--settings", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("command", [[], ["run"], ["once"], ["check"], ["version"]])
def test_every_command_has_help(command: list[str]) -> None:
    assert run(*command, "--help").returncode == 0
