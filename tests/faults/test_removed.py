"""Somebody removes an agent's spool by hand: no place is used twice, and what the agent can know of it is told."""

from __future__ import annotations

import random
import shutil

import pytest

from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.lab import PATIENCE_SECONDS, Lab

pytestmark = pytest.mark.processes


def test_a_spool_removed_while_its_agent_runs_is_a_gap_in_the_same_stream(
    story: Lab, survived: Survived, times: int
) -> None:
    (agent,) = story.add(1)
    for _ in range(3 * times):
        story.kill_server()
        before = agent.waits()
        until(lambda before=before: agent.waits() >= before + 2, PATIENCE_SECONDS)  # type: ignore[misc]
        agent.witness.look()
        shutil.rmtree(agent.spool)
        until(lambda: agent.waits() > 0, PATIENCE_SECONDS)
        story.serve()
        agent.kill()
        agent.start()
        story.more_loaded()
        survived.count("spool removed from a running agent")
    account = story.quiet()
    assert account.problems == ()
    assert account.missing >= 2 * 3 * times
    assert len(agent.witness.ends) == 1


def test_a_state_removed_from_a_stopped_agent_is_a_gap_and_a_new_stream(
    story: Lab, survived: Survived, times: int
) -> None:
    (agent,) = story.add(1)
    for _ in range(2 * times):
        story.kill_server()
        until(lambda: agent.waits() >= 2, PATIENCE_SECONDS)
        agent.kill()
        (agent.spool / "stream.json").unlink()
        agent.start()
        story.serve()
        story.more_loaded()
        survived.count("spool's state removed from a stopped agent")
    account = story.quiet()
    assert account.problems == ()
    assert account.missing >= 2 * 2 * times
    assert len(agent.witness.ends) == 1 + 2 * times


def test_a_spool_removed_from_a_stopped_agent_shows_as_a_new_stream(
    story: Lab, survived: Survived, dice: random.Random, times: int
) -> None:
    """That is all that anybody can know: the agent that starts is as new as one on a new host."""
    (agent,) = story.add(1)
    for _ in range(2 * times):
        story.kill_server()
        until(lambda: agent.waits() >= 2, PATIENCE_SECONDS)
        agent.kill()
        agent.witness.forget()
        shutil.rmtree(agent.spool)
        agent.start()
        story.serve()
        story.more_loaded()
        survived.count("spool removed from a stopped agent")
    account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told) == (0, 0)
    assert len(agent.witness.forgotten) >= 2 * 2 * times
    assert len(agent.witness.ends) == 1 + 2 * times
