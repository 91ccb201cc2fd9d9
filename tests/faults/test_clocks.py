"""An agent's clock jumps while it spools, and daylight saving time ends: nothing is lost in silence, nothing shifts.

The clock is the agent's `time.time` and `time.time_ns`, replaced in a real agent process: every instant in a batch
comes from these. Deadlines and intervals run by other clocks, as they do on a host whose time is set.
"""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from contracts.limits import MAX_AHEAD_US
from tests.agent.polling import until
from tests.faults.counting import Survived
from tests.faults.lab import PATIENCE_SECONDS, Lab, LabAgent

pytestmark = pytest.mark.processes

_JUMPS = (
    timedelta(seconds=-5),
    timedelta(seconds=30),
    timedelta(hours=-1),
    timedelta(days=-3),
    timedelta(hours=100),  # everything that waits is older than the spool keeps
    timedelta(),
    timedelta(hours=2),  # the server refuses what is closed so far ahead of its own clock
    timedelta(minutes=-20),
)


def set_clock(clock: Path, ahead: timedelta) -> None:
    scratch = clock.with_suffix(".new")
    scratch.write_text(str(int(ahead / timedelta(microseconds=1))))
    scratch.rename(clock)


def with_a_clock(story: Lab, **environment: str) -> LabAgent:
    (agent,) = story.add(1)
    agent.kill()
    agent.clock = agent.folder / "clock"
    agent.environment = environment
    set_clock(agent.clock, timedelta())
    agent.start()
    return agent


@pytest.mark.parametrize("serving", [True, False])
def test_a_clock_that_jumps_costs_only_what_gaps_tell(
    story: Lab, survived: Survived, dice: random.Random, times: int, serving: bool
) -> None:
    agent = with_a_clock(story)
    assert agent.clock is not None
    story.more_loaded()
    if not serving:
        story.kill_server()
    for jump in _JUMPS * times:
        places = agent.places()
        set_clock(agent.clock, jump)
        until(lambda places=places: agent.places() >= places + 2, PATIENCE_SECONDS)  # type: ignore[misc]
        agent.witness.look()
        if serving and jump < timedelta(microseconds=MAX_AHEAD_US):
            until(lambda: agent.waits() == 0, PATIENCE_SECONDS)
        if dice.random() < 0.5:
            agent.kill()
            agent.start()
        survived.count("clock jumped")
    set_clock(agent.clock, timedelta())
    if not serving:
        story.serve()
    agent.kill()
    agent.start()
    story.more_loaded()
    account = story.quiet()
    assert account.problems == ()
    assert account.missing > 0, "no jump cost anything: neither the server's bound nor the spool's was met"
    assert len(agent.witness.ends) == 1


def test_the_end_of_daylight_saving_time_shifts_nothing(story: Lab, survived: Survived) -> None:
    # The hour from 02:00 to 03:00 comes twice: the second one begins at 01:00 UTC.
    change = _last_end_of_summer_time()
    agent = with_a_clock(story, TZ="Europe/Berlin")
    assert agent.clock is not None
    story.more_loaded()
    agent.kill()  # a batch of both times would be refused: its readings come a month after its end
    began = datetime.now(UTC)
    set_clock(agent.clock, change - timedelta(seconds=5) - began)
    agent.start()

    def readings() -> list[datetime]:
        with psycopg.connect(story.dsn, autocommit=True, options="-c timezone=UTC") as store:
            found = store.execute(
                "select collected_at from metric.host_cpu where collected_at < %s order by 1",
                (change + timedelta(hours=3),),
            )
            return [at for (at,) in found]

    until(lambda: any(at > change + timedelta(seconds=3) for at in readings()), PATIENCE_SECONDS)
    found, took = readings(), datetime.now(UTC) - began
    assert found[0] < change, "the change was over before the first reading"
    assert found[-1] - found[0] <= took, "an hour was added"
    account = story.quiet()
    assert account.problems == ()
    assert (account.missing, account.told, account.quarantined) == (0, 0, 0)
    survived.count("daylight saving time ended")


def _last_end_of_summer_time() -> datetime:
    """01:00 UTC of the last Sunday of an October that is over."""
    now = datetime.now(UTC)
    for year in (now.year, now.year - 1):
        last = datetime(year, 10, 31, 1, tzinfo=UTC)
        change = last - timedelta(days=(last.weekday() + 1) % 7)
        if change < now - timedelta(hours=1):
            return change
    raise AssertionError


def test_the_time_zone_of_the_test_is_a_real_one() -> None:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    try:
        time.tzset()
        change = _last_end_of_summer_time().timestamp()
        assert time.localtime(change - 1).tm_isdst == 1
        assert time.localtime(change).tm_isdst == 0
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
