"""A fleet of 2,000 agents is given a release: a bad one is stopped in the first stage that has a host it hurts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from contracts.configuration import reached
from functions.config import parts
from infra.standalone.embedded import EmbeddedPostgres
from tests.functions.config.hosts import BAD, Fleet, Host, die, refuse, time_out

AGENTS = 2000
IDS = tuple(f"db-{number:04}" for number in range(AGENTS))

#: Those who are not given a release ask and send seldom, to keep the tests short; by its document, others do often.
LIVE = {"pull_every_seconds": 210, "upload_every_seconds": 900}
OFTEN = {"pull_every_seconds": 60, "upload_every_seconds": 60}


@pytest.fixture(scope="module")
def base(server: EmbeddedPostgres, store_template: str) -> Iterator[tuple[str, Fleet]]:
    """A store with a fleet that obeys its first document and has sent what it does by that."""
    name = "fleet_base"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {store_template}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGANALYTICS_STORE_DSN", server.dsn(name))
            fleet = Fleet(server.dsn(name), IDS)
            fleet.save(LIVE, draft=False)
            fleet.after(0)
            fleet.close()
            parts.store().close()
            parts.store.cache_clear()
        yield name, fleet
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def fleet(base: tuple[str, Fleet], server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """That fleet, and a store of the test's own."""
    name, made = base
    own = "fleet_own"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {own} template {name}")
        monkeypatch.setenv("PGANALYTICS_STORE_DSN", server.dsn(own))
        copy = Fleet(server.dsn(own), ())
        copy.hosts = {host.id: replace(host) for host in made.hosts.values()}
        copy.now, copy.began_at = made.now, made.began_at
        yield copy
        copy.close()
        parts.store().close()
        connection.execute(f"drop database {own} with (force)")


def _reached(stages: tuple[str, ...]) -> list[set[str]]:
    """The agents that each stage has reached."""
    return [{agent for agent in IDS if reached(stages, stage, agent, {}) is not None} for stage in range(len(stages))]


@pytest.mark.parametrize(
    ("fails", "of_twenty", "stages", "gate"),
    [
        (refuse, 4, ("1%", "10%", "100%"), "errors"),
        (time_out, 5, ("1%", "10%", "100%"), "errors"),
        (die, 8, ("1%", "100%"), "missing"),
    ],
    ids=["refused", "collectors", "silent"],
)
def test_a_bad_release_is_stopped_where_it_first_hurts(
    fleet: Fleet,
    fails: Callable[[Host], None],
    of_twenty: int,
    stages: tuple[str, ...],
    gate: str,
    tell: Callable[[str], None],
) -> None:
    hurt = set(IDS[of_twenty::20])
    assert len(hurt) == 0.05 * AGENTS
    has = _reached(stages)
    first = next(stage for stage, agents in enumerate(has) if agents & hurt)
    for agent in hurt:
        fleet.hosts[agent].fails = fails
    before = {host.config.etag for host in fleet.hosts.values()}
    fleet.save({**OFTEN, **BAD})
    release = fleet.run(fleet.start(stages=stages, bake_seconds=100), 110)

    assert (release.state, release.stage) == ("halted", first)
    halted = release.events[-1]
    assert (halted.event, halted.detail["gate"]) == ("halted", gate)
    assert halted.detail["count"] == len(has[first] & hurt)
    assert set(halted.detail["agents"]) <= has[first] & hurt
    assert release.reason is not None
    assert release.reason.startswith(f"{gate}: {halted.detail['count']} of {release.touched} agents")
    assert release.agents == AGENTS
    assert 0 < release.touched <= len(has[first])
    what = f"{fails.__name__}, 5 % of {AGENTS:,} hosts: stopped in stage {stages[first]}"
    tell(f"{what}, which has reached {len(has[first])} agents; {release.touched} were ever touched")

    # A host that is dead is started anew one day: it asks as all others do.
    fleet.poll(fleet.hosts[agent] for agent in {*IDS[::20], *has[first]})
    assert {host.config.etag for host in fleet.hosts.values()} == before
    assert fleet.release(release.id).touched == release.touched


def test_a_good_release_reaches_everybody(fleet: Fleet, tell: Callable[[str], None]) -> None:
    stages = ("1%", "10%", "100%")
    version = fleet.save({"pull_every_seconds": 210, "upload_every_seconds": 300})
    release = fleet.run(fleet.start(stages=stages, bake_seconds=100), 110)

    assert (release.state, release.reason) == ("done", None)
    assert release.touched == release.agents == AGENTS
    assert [event.detail["stage"] for event in release.events if event.event in {"started", "stage"}] == [*stages]
    given = [event.detail["given"] for event in release.events if event.event == "measured"]
    assert given == [len(agents) for agents in _reached(stages)]
    tell(f"a good release of {AGENTS:,} hosts: given to {', '.join(map(str, given))}, stage by stage")
    for_good = {host.config.etag for host in fleet.hosts.values()}
    assert len(for_good) == 1
    fleet.poll(fleet.hosts[agent] for agent in IDS[::20])
    assert {host.config.etag for host in fleet.hosts.values()} == for_good
    assert fleet.live() == version
