"""kill -9 of agents and of the server at instants that nobody chose: every batch is loaded once."""

from __future__ import annotations

import random

import pytest

from tests.faults.counting import Survived
from tests.faults.lab import Lab, instant

pytestmark = pytest.mark.processes

#: Rounds in which each agent may die, and the server, too.
_ROUNDS = 30


def test_agents_and_server_killed_at_random_lose_nothing_and_store_nothing_twice(
    story: Lab, survived: Survived, dice: random.Random, times: int
) -> None:
    agents = story.add(6)
    before = story.loaded()
    for _ in range(_ROUNDS * times):
        instant(dice, 0.3, 1.5)
        if dice.random() < 0.6:
            story.kill_server()
            survived.count("kill -9 of the server")
        for agent in agents:
            if dice.random() < 0.8:
                agent.kill()
                survived.count("kill -9 of an agent")
        for agent in agents:
            if agent.pid is None:
                agent.start()
        if story.pid is None:
            story.serve(wait=dice.random() < 0.7)
    account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)
    after = story.loaded()
    assert all(after[agent.name] > before[agent.name] + _ROUNDS * times // 5 for agent in agents), (before, after)
    assert all(len(agent.witness.ends) == 1 for agent in agents), "a stream ended"
