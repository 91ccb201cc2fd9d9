"""A disk that is full: collection goes on, the loss is told, and no line of a log is passed over."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from contracts.batch import Batch, GapReason
from contracts.codec import decode
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.disk import fill, tiny_disk
from tests.agent.door import Answer, Asked, Door, configuration
from tests.agent.polling import until
from tests.agent.program import Agent, target

pytestmark = [pytest.mark.processes, pytest.mark.any_version]

_DOCUMENT = {
    "upload_every_seconds": 1,
    "preset": "minimal",
    "metrics": {"log_event": {"every_seconds": 1}, "agent_health": {"every_seconds": 1}},
}


def answer(asked: Asked) -> Answer:
    return Answer(202) if asked.method == "POST" else configuration(1, _DOCUMENT, '"1"')


def uploaded(door: Door) -> list[Batch]:
    return [decode(asked.body) for asked in door.asked if asked.path == "/v1/batches"]


def messages(door: Door) -> list[str]:
    frames = [frame for batch in uploaded(door) for frame in batch.frames if frame.metric == "log_event"]
    return [message for frame in frames for message in frame.columns["message"]]


def test_a_full_disk_costs_samples_and_tells_of_them_and_costs_no_line_of_the_log(
    server: EmbeddedPostgres, open_door: Door, tmp_path: Path
) -> None:
    open_door.answer = answer
    agent, log = Agent(tmp_path), tmp_path / "postgresql.log"

    def say(message: str) -> None:
        with log.open("a") as file:
            file.write(f"2026-01-01 00:00:00.000 UTC [1] ERROR:  {message}\n")

    say("history")
    with tiny_disk(agent.state, "256k") as disk:
        agent.write(
            "[host]\nenabled = false\n" + target(server.dsn(), f'[targets.log]\nfiles = ["{log}"]\n'), url=open_door.url
        )
        with agent.running() as process:
            until(lambda: any(run.collector == "log_event" for batch in uploaded(open_door) for run in batch.runs))
            say("before")
            until(lambda: "before" in messages(open_door))
            fill(disk / "ballast")
            say("while it is full")
            losses = agent.log.read_text().count("is lost")
            until(lambda: agent.log.read_text().count("is lost") >= losses + 4)
            say("at the end")
            (disk / "ballast").unlink()
            until(lambda: "at the end" in messages(open_door))
            until(lambda: any(gap.reason is GapReason.DISK_FULL for each in uploaded(open_door) for gap in each.gaps))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert messages(open_door) == ["before", "while it is full", "at the end"]
    gaps = [gap for batch in uploaded(open_door) for gap in batch.gaps]
    assert {gap.reason for gap in gaps} == {GapReason.DISK_FULL}
    assert sum(gap.batches for gap in gaps) >= 4
    assert "No space left on device" in (gaps[0].detail or "")
    assert [batch.seq for batch in uploaded(open_door)] == list(range(len(uploaded(open_door))))
    assert "Traceback" not in agent.log.read_text()
