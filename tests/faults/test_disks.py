"""Disks fill and folders vanish under the spool, the queue and the bucket: what was lost is told, the rest arrives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.disks import Ballast, mounted
from tests.faults.lab import PATIENCE_SECONDS, Lab, LabAgent, lab
from tests.nursery import Nursery

pytestmark = pytest.mark.processes


@contextmanager
def on_a_small_disk(folder: Path, under: str, dsn: str, nursery: Nursery) -> Iterator[Lab]:
    disk = folder / under
    disk.mkdir(parents=True)
    disk.parent.chmod(0o700)
    with mounted(disk, "4m"), lab(folder, dsn, nursery) as made:
        yield made


def objects(story: Lab) -> int:
    return sum(1 for _ in story.bucket.rglob("*.json.gz"))


def grow(agents: list[LabAgent], by: int = 1) -> None:
    """Wait until more waits in each spool: nothing is accepted, and nothing is lost by that."""
    before = {agent.name: agent.waits() for agent in agents}
    until(lambda: all(agent.waits() >= before[agent.name] + by for agent in agents), PATIENCE_SECONDS)


def test_a_full_disk_under_the_spool_costs_what_its_gaps_say(
    tmp_path: Path, store_dsn: str, nursery: Nursery, survived: Survived, times: int
) -> None:
    with on_a_small_disk(tmp_path, "db-1/state", store_dsn, nursery) as story:
        (agent,) = story.add(1)
        ballast = Ballast(agent.folder / "state")
        for turn in range(3 * times):
            ballast.fill()
            until(lambda turn=turn: agent.log_of("what was collected is lost") > turn, PATIENCE_SECONDS)  # type: ignore[misc]
            if turn % 2:
                agent.kill()
            ballast.leave()
            if agent.pid is None:
                agent.start()
            story.more_loaded()
            survived.count("disk full under the spool")
        account = story.quiet()
    assert account.problems == ()
    assert account.told > 0
    assert account.quarantined == 0


@pytest.mark.parametrize("under", ["server", "server/bucket"])
def test_a_full_disk_under_queue_or_bucket_costs_nothing(
    tmp_path: Path, store_dsn: str, nursery: Nursery, survived: Survived, times: int, under: str
) -> None:
    with on_a_small_disk(tmp_path, under, store_dsn, nursery) as story:
        agents = story.add(2)
        ballast = Ballast(tmp_path / under)
        for _ in range(2 * times):
            ballast.fill()
            grow(agents, by=2)
            ballast.leave()
            for agent in agents:  # anew, without the pause of one that has failed for a while
                agent.kill()
                agent.start()
            story.more_loaded()
            survived.count(f"disk full under the {'bucket' if 'bucket' in under else 'queue and the bucket'}")
        account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)


def test_a_bucket_that_is_away_for_a_while_costs_nothing(
    story: Lab, survived: Survived, dice: random.Random, times: int
) -> None:
    agents = story.add(2)
    elsewhere = story.data / "elsewhere"
    for _ in range(2 * times):
        story.bucket.rename(elsewhere)
        grow(agents, by=2)
        assert not story.bucket.exists(), "a bucket was made anew where another is to return"
        elsewhere.rename(story.bucket)
        for agent in agents:
            agent.kill()
            agent.start()
        story.more_loaded()
        survived.count("bucket away")
    account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)
