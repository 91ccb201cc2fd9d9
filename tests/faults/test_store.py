"""The store goes away in the midst of loading, and comes back: agents notice nothing, and nothing is loaded twice."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres
from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.lab import PATIENCE_SECONDS, Lab, instant, lab
from tests.infra.standalone.serving import new_store
from tests.nursery import Nursery
from tests.servers import in_memory

pytestmark = pytest.mark.processes


@pytest.fixture
def own() -> Iterator[EmbeddedPostgres]:
    """A server to break. What it has said was committed survives the death of its processes."""
    with embedded_postgres({**THROWAWAY, "synchronous_commit": "on"}, below=in_memory()) as running:
        yield running


@pytest.fixture
def broken(tmp_path: Path, own: EmbeddedPostgres, nursery: Nursery) -> Iterator[Lab]:
    with lab(tmp_path, new_store(own), nursery) as made:
        yield made


def objects(story: Lab) -> int:
    return sum(1 for _ in story.bucket.rglob("*.json.gz"))


def test_a_store_that_dies_under_load_has_each_batch_once(
    broken: Lab, own: EmbeddedPostgres, survived: Survived, dice: random.Random, times: int
) -> None:
    broken.add(4)
    for _ in range(6 * times):
        broken.more_loaded()
        instant(dice, 0, 0.5)
        own.stop("immediate")
        had = objects(broken)
        until(lambda had=had: objects(broken) > had, PATIENCE_SECONDS)  # type: ignore[misc]
        own.start()
        survived.count("store died")
    broken.more_loaded()
    account = broken.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)


def test_a_store_that_is_away_for_long_has_each_batch_once(
    broken: Lab, own: EmbeddedPostgres, survived: Survived, dice: random.Random, times: int
) -> None:
    """Long enough for the loader to have tried in vain many times; `--faults=6` makes it minutes."""
    broken.add(2)
    broken.more_loaded()
    own.stop("immediate")
    had = objects(broken)
    instant(dice, 20 * times, 30 * times)
    assert objects(broken) > had + 10 * times, "agents were held up"
    own.start()
    survived.count("store away for long")
    broken.more_loaded()
    account = broken.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)


def test_a_store_that_hangs_for_a_while_has_each_batch_once(
    broken: Lab, own: EmbeddedPostgres, survived: Survived, dice: random.Random, times: int
) -> None:
    broken.add(4)
    for _ in range(4 * times):
        broken.more_loaded()
        instant(dice, 0, 0.5)
        postmaster = psutil.Process(own.pid)
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            os.kill(process.pid, signal.SIGSTOP)
        had = objects(broken)
        until(lambda had=had: objects(broken) > had + 3, PATIENCE_SECONDS)  # type: ignore[misc]
        for process in stopped:
            os.kill(process.pid, signal.SIGCONT)
        survived.count("store hung")
    account = broken.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)
