"""What moves a release on, what holds it, and what its gates measure; of a fleet that is small."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from pydantic import SecretStr

from contracts.batch import ConfigState, Status
from contracts.configuration import Gates, Release, in_stage
from functions.config.advance import Looked, advance
from functions.config.advance_handler import handler
from functions.config.gates import Figures
from functions.config.measured import measure
from functions.config.releases import abort, pause, resume
from functions.store import Connection, Store, StoreUnavailableError
from tests.functions.config.hosts import BAD, Fleet, Host, die, refuse, time_out

IDS = tuple(f"db-{number}" for number in range(20))
CANARIES = IDS[:2]
OFTEN = {"pull_every_seconds": 60, "upload_every_seconds": 60, "full_every_seconds": 600}

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.fixture
def fleet(store_dsn: str, deployed: None) -> Iterator[Fleet]:
    """A fleet that obeys its first document and has sent for ten minutes."""
    made = Fleet(store_dsn, IDS)
    made.save({}, draft=False)
    made.label(CANARIES, {"canary": "true"})
    for _ in range(4):
        made.after(150)
    yield made
    made.close()


def _events(release: Release) -> list[tuple[str, int]]:
    return [(each.event, each.stage) for each in release.events if each.event != "measured"]


def _measured(release: Release) -> dict[str, object]:
    return [each.detail for each in release.events if each.event == "measured"][-1]


def _half() -> str:
    return next(f"{share}%" for share in range(100) if sum(in_stage(f"{share}%", each, {}) for each in IDS) >= 5)


def test_a_release_goes_on_when_its_stage_has_baked_and_said_yes(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=100)
    assert fleet.look() == [Looked(number, "running", 0)]
    fleet.after(60)
    assert fleet.look() == [Looked(number, "running", 0)]
    found = _measured(fleet.release(number))
    assert (found["given"], found["applied"]) == (2, 2)
    fleet.after(60)
    assert fleet.look() == [Looked(number, "running", 0)]  # given a minute after the stage began
    fleet.after(60)
    assert fleet.look() == [Looked(number, "running", 1)]
    release = fleet.run(number)
    assert _events(release) == [("started", 0), ("stage", 1), ("done", 1)]
    assert (release.touched, fleet.live()) == (20, release.to_version)


def test_who_is_alive_and_says_nothing_is_waited_for(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=60)
    deaf = fleet.hosts["db-1"]
    for _ in range(5):
        deaf.polls_at = fleet.now + timedelta(days=1)
        fleet.after(60)
        fleet.look()
    found = _measured(fleet.release(number))
    assert found["waiting"] == {"figure": 0.5, "limit": None, "count": 1, "of": 2, "agents": ["db-1"]}
    deaf.polls_at = fleet.now
    assert fleet.run(number).state == "done"


def test_who_was_silent_before_is_neither_waited_for_nor_missed(fleet: Fleet) -> None:
    fleet.hosts["db-1"].up = fleet.hosts["db-7"].up = False
    for _ in range(4):
        fleet.after(60)
    fleet.save(OFTEN)
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=60))
    assert (release.state, release.touched, release.agents) == ("done", 18, 20)


def test_a_stage_without_agents_passes_on_at_once(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("label:site=x", "0%", "canary", "100%"), bake_seconds=60)
    assert fleet.look() == [Looked(number, "running", 2)]
    release = fleet.release(number)
    assert _events(release) == [("started", 0), ("stage", 1), ("stage", 2)]
    assert [each.detail.get("why") for each in release.events if each.event == "stage"] == [
        "label:site=x adds no agent",
        "0% adds no agent",
    ]
    assert release.touched == 0


def test_a_release_of_a_scope_without_agents_is_done_at_once(fleet: Fleet) -> None:
    fleet.save(OFTEN, scope="agent:db-99")
    number = fleet.start(scope="agent:db-99", stages=("100%",))
    assert fleet.look() == [Looked(number, "done", 0)]


def test_only_agents_of_the_scope_are_given_it(fleet: Fleet) -> None:
    fleet.save(OFTEN, scope="agent:db-3")
    number = fleet.start(scope="agent:db-3", stages=("1%", "100%"), bake_seconds=60)
    release = fleet.run(number)
    assert (release.state, release.touched, release.agents) == ("done", 1, 1)


def test_a_pause_holds_and_a_resumed_release_goes_on(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=60)
    with fleet.store.transaction() as connection:
        pause(connection, number, "ann", fleet.now)
    for _ in range(5):
        fleet.after(60)
        assert fleet.look() == []
    assert fleet.release(number).touched == 2
    with fleet.store.transaction() as connection:
        resume(connection, number, "bob", fleet.now)
    assert fleet.look() == [Looked(number, "running", 0)]
    release = fleet.run(number)
    assert _events(release) == [("started", 0), ("paused", 0), ("resumed", 0), ("stage", 1), ("done", 1)]
    assert [each.actor for each in release.events if each.event != "measured"] == [
        "ann",
        "ann",
        "bob",
        "schedule",
        "schedule",
    ]


def test_an_aborted_release_is_taken_back(fleet: Fleet) -> None:
    before = {host.config.etag for host in fleet.hosts.values()}
    fleet.save(OFTEN)
    number = fleet.start(stages=("100%",), bake_seconds=600)
    fleet.after(60)
    assert not before & {host.config.etag for host in fleet.hosts.values()}
    with fleet.store.transaction() as connection:
        assert abort(connection, number, "ann", fleet.now).reason == "aborted by ann"
    assert fleet.look() == []
    fleet.after(60)
    assert {host.config.etag for host in fleet.hosts.values()} == before
    assert fleet.live() == 1


def test_an_outage_changes_nothing(fleet: Fleet) -> None:
    """The server was down for half an hour: nobody was heard, and nobody is silent for that."""
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=60)
    fleet.after(60)
    fleet.look()
    before = fleet.release(number)
    fleet.disconnect()
    fleet.now += timedelta(minutes=30)
    assert fleet.look() == [Looked(number, "running", 0)]
    after = fleet.release(number)
    assert (after.state, after.touched) == (before.state, before.touched)
    assert fleet.run(number).state == "done"


def test_an_outage_that_began_with_the_release_changes_nothing(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=60)
    fleet.after(60)
    fleet.now += timedelta(minutes=30)
    assert fleet.look() == [Looked(number, "running", 0)]
    assert fleet.run(number).state == "done"


def test_a_release_that_cannot_be_looked_at_costs_no_other(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.save(OFTEN)
    fleet.save(OFTEN, scope="agent:db-99")
    first, second = fleet.start(stages=("100%",)), fleet.start(scope="agent:db-99", stages=("100%",))

    def fail_on_the_first(connection: Connection, release_id: int, *asked: Any) -> Figures:
        if release_id == first:
            connection.execute("set local statement_timeout = 1")
            connection.execute("select pg_sleep(1)")
        return measure(connection, release_id, *asked)

    monkeypatch.setattr("functions.config.advance.measure", fail_on_the_first)
    with pytest.raises(StoreUnavailableError, match="statement timeout"):
        fleet.look()
    assert [fleet.release(each).state for each in (first, second)] == ["running", "done"]


def test_two_looks_at_once_move_one_stage_only(fleet: Fleet, store_dsn: str) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", _half(), "100%"), bake_seconds=60)
    for _ in range(2):
        fleet.after(60)
    together = Barrier(4)

    def look(_: int) -> list[Looked]:
        store = Store(SecretStr(store_dsn), "tests")
        try:
            together.wait(10)
            return advance(store, fleet.now)
        finally:
            store.close()

    with ThreadPoolExecutor(4) as threads:
        looks = list(threads.map(look, range(4)))
    assert sum(look == [Looked(number, "running", 1)] for look in looks) >= 1
    assert _events(fleet.release(number)) == [("started", 0), ("stage", 1)]


def test_an_operator_waits_for_no_look_and_comes_first(
    fleet: Fleet, store_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is aborted while a look has measured what would move it on."""
    fleet.hosts["db-1"].fails = time_out
    fleet.save({**OFTEN, **BAD})
    number = fleet.start(stages=("canary", "100%"), bake_seconds=60)
    for _ in range(2):
        fleet.after(60)

    def measure_slowly(connection: Connection, *asked: Any) -> Figures:
        figures = measure(connection, *asked)
        other = Store(SecretStr(store_dsn), "tests")
        with other.transaction() as its:
            its.execute("set local lock_timeout = '1s'")
            abort(its, number, "ann", fleet.now)
        other.close()
        return figures

    monkeypatch.setattr("functions.config.advance.measure", measure_slowly)
    assert fleet.look() == []
    assert _events(fleet.release(number)) == [("started", 0), ("aborted", 0)]


def test_the_schedules_handler_looks_at_every_release(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    fleet.save(OFTEN, scope="agent:db-3")
    numbers = [fleet.start(stages=("100%",)), fleet.start(scope="agent:db-3", stages=("100%",))]
    assert handler({}, None) == {"releases": [{"id": each, "outcome": "running", "stage": 0} for each in numbers]}


def test_a_document_that_is_refused_fails_the_gate(fleet: Fleet) -> None:
    fleet.hosts["db-1"].fails = refuse
    fleet.save(BAD)
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=60))
    assert (release.state, release.stage) == ("halted", 0)
    assert release.reason == (
        "errors: 1 of 2 agents (50.0%) refused the document, or have collectors that fail as they did not before; "
        "the limit is 1.00%: db-1"
    )
    assert release.events[-1].detail["why"] == {"db-1": "refused: statement_timeout_ms: too short"}
    assert fleet.live() == 1


def test_within_the_limit_a_stage_goes_on_without_those_who_refuse(fleet: Fleet) -> None:
    fleet.hosts["db-9"].fails = refuse
    fleet.save({**OFTEN, **BAD})
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=60, gates=Gates(errors=0.05)))
    assert (release.state, release.touched) == ("done", 20)


def test_a_collector_that_fails_fails_the_gate_with_its_reason(fleet: Fleet) -> None:
    fleet.hosts["db-1"].fails = time_out
    fleet.save({**OFTEN, **BAD})
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=120))
    assert (release.state, release.stage) == ("halted", 0)
    assert release.events[-1].detail["why"] == {"db-1": "table_stats: timeout"}


def test_a_collector_that_failed_before_does_not_count(fleet: Fleet) -> None:
    failing = fleet.hosts["db-1"]
    failing.collectors = Status.PERMISSION
    for _ in range(2):
        fleet.after(60)
    failing.fails = time_out
    fleet.save({**OFTEN, **BAD})
    assert fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=120)).state == "done"


def test_one_failure_of_a_collector_that_runs_often_does_not_count(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=300)
    fleet.after(60)
    for status in (Status.ERROR, Status.OK, Status.TIMEOUT, Status.OK):
        fleet.hosts["db-0"].collectors = status
        fleet.after(60)
        assert fleet.look() == [Looked(number, "running", 0)]
    assert _measured(fleet.release(number))["errors"] == {
        "figure": 0.0,
        "limit": 0.01,
        "count": 0,
        "of": 2,
        "agents": [],
    }


def test_what_an_agent_sends_late_counts_all_the_same(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=600)
    host = fleet.hosts["db-0"]
    kept = []
    for _ in range(2):
        host.sends_at = fleet.now + timedelta(days=1)
        fleet.after(60)
        host.collectors = Status.ERROR
        kept.append(host.reading(fleet.now))
        fleet.look()
    assert fleet.release(number).state == "running"
    fleet.load(kept)
    assert fleet.look() == [Looked(number, "halted", 0)]


def test_agents_that_go_silent_fail_the_gate(fleet: Fleet) -> None:
    fleet.hosts["db-1"].fails = die
    fleet.save({**OFTEN, **BAD})
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=600))
    assert (release.state, release.stage) == ("halted", 0)
    assert release.reason == "missing: 1 of 2 agents (50.0%) have gone silent; the limit is 2.00%: db-1"


def test_silence_goes_by_the_document_that_the_agent_was_given(fleet: Fleet) -> None:
    fleet.save({"upload_every_seconds": 600})
    number = fleet.start(stages=("canary", "100%"), bake_seconds=3600)
    fleet.after(60)
    fleet.hosts["db-1"].up = False
    for _ in range(20):
        fleet.after(60)
        fleet.look()
    assert fleet.release(number).state == "running"
    assert fleet.run(number).reason == "missing: 1 of 2 agents (50.0%) have gone silent; the limit is 2.00%: db-1"


def test_an_agent_whose_clock_is_slow_is_not_silent(fleet: Fleet) -> None:
    fleet.hosts["slow"] = Host("slow", skew=timedelta(minutes=-50), fails=time_out)
    fleet.label(["slow"], {"canary": "true"})
    fleet.after(60)
    fleet.save(OFTEN)
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=60))
    assert (release.state, release.touched) == ("done", 21)


def test_an_agent_whose_clock_is_slow_is_held_against_its_own_past(fleet: Fleet) -> None:
    fleet.hosts["slow"] = Host("slow", skew=timedelta(minutes=-50), fails=time_out)
    fleet.label(["slow"], {"canary": "true"})
    for _ in range(3):
        fleet.after(60)
    fleet.save({**OFTEN, **BAD})
    release = fleet.run(fleet.start(stages=("canary", "100%"), bake_seconds=120))
    assert release.events[-1].detail["agents"] == ["slow"]


def test_while_nobody_is_heard_nobody_is_missed_and_no_stage_begins(fleet: Fleet) -> None:
    """The way into the store is broken, not those few agents."""
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=300)
    fleet.after(60)
    back_at = fleet.now + timedelta(minutes=90)
    for host in fleet.hosts.values():
        host.sends_at = back_at
    while fleet.now < back_at - timedelta(minutes=2):
        fleet.after(60)
        fleet.look()
        assert fleet.release(number).stage == 0
    assert _measured(fleet.release(number))["missing"] is None
    # Those who were given it are the last to come back.
    for canary in CANARIES:
        fleet.hosts[canary].sends_at = fleet.now + timedelta(minutes=2)
    assert fleet.run(number).state == "done"


@pytest.mark.parametrize("gate", ["agent_cpu", "db_time"])
def test_agents_that_take_more_than_before_fail_the_gate(fleet: Fleet, gate: str) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("100%",), bake_seconds=600)
    fleet.after(60)
    for name in IDS[:11]:
        fleet.hosts[name].cpu_share *= 3 if gate == "agent_cpu" else 1.5
        fleet.hosts[name].query_share *= 3 if gate == "db_time" else 1.5
    release = fleet.run(number)
    assert release.state == "halted"
    assert release.reason is not None
    what = {"agent_cpu": "processor time of the agent", "db_time": "time in the databases"}[gate]
    assert release.reason.startswith(
        f"{gate}: {what} is 3.0 times what it was, the median of 20 agents; the limit is 2"
    )
    detail = release.events[-1].detail
    assert (detail["gate"], detail["figure"], detail["count"]) == (gate, 3.0, 11)
    assert set(detail["agents"]) == set(IDS[:11])


def test_what_less_than_half_of_the_agents_take_is_no_median(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("100%",), bake_seconds=200)
    for name in IDS[:9]:
        fleet.hosts[name].cpu_share *= 9
    release = fleet.run(number)
    assert release.state == "done"
    measured = _measured(release)["agent_cpu"]
    assert isinstance(measured, dict)
    assert (measured["figure"], measured["count"]) == (1.0, 9)


def test_a_gate_that_is_off_and_one_without_readings_are_not_measured(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("100%",), gates=Gates(db_time=None))
    fleet.after(60)
    fleet.look()
    measured = _measured(fleet.release(number))
    assert (measured["agent_cpu"], measured["db_time"]) == (None, None)


def test_an_agent_that_was_started_anew_is_measured_from_there(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("100%",), bake_seconds=300)
    fleet.after(60)
    for host in fleet.hosts.values():
        host.epoch, host.cpu_us, host.query_us = 8, 0, 0
    release = fleet.run(number)
    assert release.state == "done"
    measured = _measured(release)["agent_cpu"]
    assert isinstance(measured, dict)
    assert (measured["figure"], measured["of"]) == (1.0, 20)


def test_a_weakened_tag_is_the_tag_all_the_same(fleet: Fleet) -> None:
    fleet.save(OFTEN)
    number = fleet.start(stages=("canary", "100%"), bake_seconds=60)
    fleet.after(60)
    host = fleet.hosts["db-0"]
    assert host.config.state is ConfigState.APPLIED
    host.config = host.config.model_copy(update={"etag": f"W/{host.config.etag}"})
    fleet.send([host])
    fleet.look()
    assert _measured(fleet.release(number))["applied"] == 2
