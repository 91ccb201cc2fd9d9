"""Promises of `pganalytics-agent spool`: it shows what is there beside a running agent, and says what is not."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from agent.spool import Spool
from contracts.batch import Gap, GapReason
from tests.agent.door import Answer, Door
from tests.agent.polling import until
from tests.agent.program import Agent

pytestmark = pytest.mark.processes


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def shown(agent: Agent) -> dict[str, Any]:
    done = agent.ask("spool", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def filled(agent: Agent) -> Spool:
    """A spool with two batches that wait, two that were set aside, and a gap."""
    spool = Spool(agent.state / "spool", 10**9, 10**9)
    now = time.time_ns() // 1000
    made = [spool.put(lambda *_: gzip.compress(b"x"), now - age * 1_000_000, {}) for age in (500, 400, 300, 200)]
    spool.put_aside(made[0], GapReason.REJECTED, "frames: [no] :x:", 422)
    spool.put_aside(made[1], GapReason.CORRUPT, "not gzip")
    spool.lost(Gap(reason=GapReason.DISK_FULL, from_at=1, until_at=2, batches=3, detail="no :key: [b]"))
    return spool


def test_everything_is_listed_with_ages_and_reasons_while_somebody_holds_the_spool(agent: Agent) -> None:
    spool = filled(agent)
    agent.write("", url=None)
    before = {path: path.stat().st_mtime_ns for path in agent.state.rglob("*")}
    found = shown(agent)
    assert (found["stream_id"], found["batches"]) == (str(spool.stream_id), 2)
    assert [each["seq"] for each in found["waiting"]] == [2, 3]
    assert found["size_bytes"] == sum(each["size_bytes"] for each in found["waiting"]) > 0
    assert found["oldest_seconds"] == found["waiting"][0]["age_seconds"] >= 300
    assert [(each["reason"], each["status"], each["detail"]) for each in found["set_aside"]] == [
        ("rejected", 422, "frames: [no] :x:"),
        ("corrupt", None, "not gzip"),
    ]
    assert [(gap["reason"], gap["batches"]) for gap in found["gaps_not_told"]] == [
        ("rejected", 1),
        ("corrupt", 1),
        ("disk_full", 3),
    ]
    told = agent.ask("spool").stdout
    for part in (
        "2 batches wait",
        "2 batches are set aside",
        "frames: [no] :x:",
        "422",
        "disk_full: 3 batches; no :key: [b]",
    ):
        assert part in told
    assert {path: path.stat().st_mtime_ns for path in agent.state.rglob("*")} == before
    spool.close()


def test_a_running_agent_is_not_disturbed(agent: Agent, open_door: Door) -> None:
    filled(agent).close()
    open_door.answer = lambda _: Answer(503)
    agent.write("", url=open_door.url)
    with agent.running() as process:
        until(lambda: any(asked.method == "POST" for asked in open_door.asked))
        assert [each["seq"] for each in shown(agent)["waiting"]][:2] == [2, 3]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert len(shown(agent)["set_aside"]) == 2


@pytest.mark.parametrize("what", ["nothing", "no state", "corrupt"])
def test_a_spool_that_is_none_is_named(agent: Agent, what: str) -> None:
    agent.write("", url=None)
    if what != "nothing":
        (agent.state / "spool").mkdir(parents=True)
    if what == "corrupt":
        (agent.state / "spool" / "stream.json").write_text("{")
    done = agent.ask("spool")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    expected = "stream.json is corrupt" if what == "corrupt" else "there is none; no agent has run"
    assert f"pganalytics-agent: the spool {agent.state}/spool: {expected}" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_spool_of_another_user_is_named(agent: Agent, tmp_path: Path) -> None:
    filled(agent).close()
    agent.write("", url=None)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    done = agent.ask_as_nobody("spool")
    assert done.returncode == 2
    assert "Permission denied; look as the agent's user" in done.stderr
    assert "Traceback" not in done.stderr
