"""The network between agents and the server breaks in every way it knows; what was on its way is loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.lab import PATIENCE_SECONDS, Lab, LabAgent
from tests.faults.proxy import Fault, Proxy

pytestmark = pytest.mark.processes


@pytest.fixture
def network(story: Lab) -> Iterator[Proxy]:
    with Proxy(story.port) as between:
        yield between


def again(agents: list[LabAgent]) -> None:
    """A new process has no failure behind it, and so does not wait long before it tries."""
    for agent in agents:
        agent.kill()
        agent.start()


def test_whatever_the_network_does_each_batch_is_loaded_once(
    story: Lab, network: Proxy, survived: Survived, times: int
) -> None:
    agents = story.add(3, network.url)
    faults: list[Fault] = [each for each in Fault if each is not Fault.NONE]
    for fault in faults * times:
        met = network.met[fault]
        network.become(fault)
        # An agent that waits for an answer that never comes asks nothing else meanwhile.
        until(lambda met=met, fault=fault: network.met[fault] >= met + 3, PATIENCE_SECONDS)  # type: ignore[misc]
        if fault is Fault.SLOW:
            story.more_loaded()
        network.become(Fault.NONE)
        again(agents)
        story.more_loaded()
    account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)
    for fault, met in network.met.items():
        survived.count(f"network {fault.name.lower().replace('_', ' ')}", met)


def test_a_batch_whose_answer_is_lost_is_sent_again_and_loaded_once(
    story: Lab, network: Proxy, survived: Survived
) -> None:
    (agent,) = story.add(1, network.url)
    network.become(Fault.ANSWER_LOST)
    # A batch whose answer is lost is sent again for ever, and no other follows it: no more need be loaded.
    until(lambda: network.met[Fault.ANSWER_LOST] >= 5 and story.loaded()[agent.name], PATIENCE_SECONDS)
    network.become(Fault.NONE)
    met = network.met[Fault.ANSWER_LOST]
    account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)
    survived.count("network answer lost", met)
