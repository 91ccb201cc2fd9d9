"""Rollouts on real hosts: canaries first, the server confirms each step, and a step that fails is returned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.ansible.controller import Played
from tests.fleet.central import Central, until
from tests.fleet.conftest import Site
from tests.fleet.managed import Managed
from tests.fleet.rollout import Fleet
from tests.fleet.test_agent import _everything
from tests.fleet.wheels import other_version

pytestmark = pytest.mark.fleet

_NAMES = ("canary", "db-2", "db-3")


@dataclass(frozen=True)
class First:
    """What was there before, and how the first runs went."""

    before: dict[str, dict[str, tuple[object, ...]]]
    after_rehearsal: dict[str, dict[str, tuple[object, ...]]]
    rehearsal: Played
    rollout: Played
    second: Played
    pids: dict[str, int]


@pytest.fixture(scope="module")
def made(site: Site) -> Iterator[tuple[Fleet, First]]:
    with ExitStack() as stack:
        hosts = tuple(stack.enter_context(site.managed(name, 21 + number)) for number, name in enumerate(_NAMES))
        for each in hosts:
            each.options.update(
                pganalytics_agent_watchdog_seconds=10,
                pganalytics_agent_confirm_seconds=60,
            )
        folder = site.network.folder / "rollout"
        folder.mkdir()
        fleet = Fleet(hosts, folder)
        stack.callback(fleet.hang_up)
        before = {each.host.name: _everything(each.host.root) for each in hosts}
        rehearsal = fleet.played("deploy", "--check", "--diff", "--limit=canary,db-2")
        after = {each.host.name: _everything(each.host.root) for each in hosts}
        rollout = fleet.played("deploy", "--diff")
        pids = fleet.pids()
        second = fleet.played("deploy")
        for each in hosts:
            # A rollout without it takes less time; who takes a right away would be given it back.
            each.options["pganalytics_monitoring_role_enabled"] = False
        yield fleet, First(before, after, rehearsal, rollout, second, pids)


@pytest.fixture
def fleet(made: tuple[Fleet, First]) -> Fleet:
    """Hosts with the agent; who changes them puts them back."""
    return made[0]


@pytest.fixture
def first(made: tuple[Fleet, First]) -> First:
    return made[1]


def stands(each: Managed) -> str:
    """What makes the agent what it is on this host."""
    files = "/etc/systemd/system/pganalytics-agent.service /etc/pganalytics/*"
    return each.host.run(
        f"sha256sum {files}; readlink /opt/pganalytics/current /opt/pganalytics/previous;"
        " ls /opt/pganalytics/environments; systemctl is-active pganalytics-agent"
    )


def arrives(central: Central, each: Managed) -> None:
    """Batches of this host arrive from now on."""
    known = set(central.objects(each.host.name))
    until(lambda: set(central.objects(each.host.name)) > known, f"no batch of {each.host.name} arrives")


def test_a_rehearsal_changes_nothing(first: First) -> None:
    assert min(first.rehearsal.changes.values()) > 0
    assert first.after_rehearsal == first.before


def test_a_rollout_begins_with_the_canary_and_ends_when_the_server_has_all(first: First, central: Central) -> None:
    print(f"\nfirst run {first.rollout.seconds:.1f} s, second run {first.second.seconds:.1f} s")  # noqa: T201
    canary, others = first.rollout.output.split("PLAY [Put the agent on the other hosts")
    assert "changed: [canary]" in canary
    assert "[db-2]" not in canary
    assert "changed: [db-2]" in others
    loaded = central.asked(b"select agent_id, name from store.target where name in ('host', 'main')")
    assert set(loaded) >= {(name, target) for name in _NAMES for target in ("host", "main")}


def test_a_second_run_changes_nothing(fleet: Fleet, first: First) -> None:
    assert set(first.second.changes.values()) == {0}
    assert fleet.pids() == first.pids


def test_another_option_is_taken_over_without_another_process(fleet: Fleet) -> None:
    pids = fleet.pids()
    for each in fleet.hosts:
        each.options["pganalytics_agent_spool_max_age_hours"] = 24.0
    assert min(fleet.played("deploy").changes.values()) > 0
    assert fleet.pids() == pids
    for each in fleet.hosts:
        settings = (each.host.root / "etc/pganalytics/agent.toml").read_bytes()
        obeyed = each.host.run("cat /run/pganalytics-agent/settings.sha256").strip()
        assert b"max_age_hours = 24.0" in settings
        assert obeyed == hashlib.sha256(settings).hexdigest()


_STOPS = "The step failed: its hosts are returned to what ran before, and the rollout stops. "


def canaries_fail(fleet: Fleet, why: Mapping[str, str], of: Mapping[str, Mapping[str, object]]) -> None:
    """Two canaries fail for these reasons and are returned; the third host is never touched."""
    stood, pids = [stands(each) for each in fleet.hosts], fleet.pids()
    done = fleet.play("deploy", of=of, canaries=2)
    assert (done.code != 0, done.failed) == (True, set(why)), done.output
    said = re.split(f"({'|'.join(why)}): ", done.words.rpartition(_STOPS)[2])
    whys = dict(zip(said[1::2], said[2::2], strict=True))
    assert [name for name in why if why[name] not in whys[name]] == [], whys
    assert [stands(each) for each in fleet.hosts] == stood
    assert fleet.pids()["db-3"] == pids["db-3"]


def test_a_bad_wheel_and_a_server_out_of_reach_stop_the_rollout_at_the_canaries(
    fleet: Fleet, central: Central, carried: Path, tmp_path: Path
) -> None:
    bad = other_version(carried, "0.1.1", tmp_path / "bad", broken="agent")
    elsewhere = {"server_url": "https://10.77.0.1:9", "confirm_url": central.url}
    why = {"canary": "this wheel is broken", "db-2": "10.77.0.1"}
    canaries_fail(fleet, why, {"canary": {"wheels": str(bad)}, "db-2": elsewhere})
    for each in fleet.hosts[:2]:
        arrives(central, each)


def test_so_do_a_missing_right_and_a_wrong_type(fleet: Fleet, central: Central) -> None:
    canary = fleet.canary
    canary.host.sql("revoke pg_monitor from pganalytics")
    try:
        why = {"canary": "pg_monitor", "db-2": "pganalytics_agent_tasks_max"}
        canaries_fail(fleet, why, {"db-2": {"tasks_max": "many"}})
    finally:
        canary.host.sql("grant pg_monitor to pganalytics")
    arrives(central, canary)


def test_so_do_a_host_that_is_away_and_batches_that_are_not_loaded(fleet: Fleet, central: Central) -> None:
    fleet.canary.options["ansible_host"] = "10.77.0.99"
    try:
        with psycopg.connect(central.store_dsn) as connection:
            # Batches reach the bucket, and nothing is loaded.
            connection.execute("lock table store.ledger in exclusive mode")
            why = {
                "canary": "it cannot be reached",
                "db-2": "the server has no readings of host, main since the agent runs as it does",
            }
            canaries_fail(fleet, why, {"db-2": {"spool_max_age_hours": 23.0, "confirm_seconds": 6}})
            connection.rollback()
    finally:
        fleet.canary.options["ansible_host"] = fleet.canary.host.address


def version(each: Managed) -> str:
    return each.host.run("/opt/pganalytics/current/bin/pganalytics-agent version").strip()


def kept(each: Managed) -> str:
    """What another version leaves as it is."""
    return each.host.run(
        "sha256sum /etc/pganalytics/*; stat --format=%Y /etc/pganalytics/agent.toml;"
        ' grep -ho \'"stream_id":"[^"]*"\' /var/lib/pganalytics-agent/spool/*stream.json'
    )


def test_a_later_step_is_returned_as_one_and_an_upgrade_that_goes_well_can_be_rolled_back(
    fleet: Fleet, central: Central, carried: Path, tmp_path: Path
) -> None:
    bad, good = other_version(carried, "0.1.1", tmp_path / "bad", broken="agent"), tmp_path / "good"
    other_version(carried, "0.1.1", good)
    stood, before = [stands(each) for each in fleet.hosts], [kept(each) for each in fleet.hosts]
    streams = central.asked(_STREAMS)
    done = fleet.play("deploy", wheels=str(good), of={"db-2": {"wheels": str(bad)}})
    assert done.failed == {"db-2", "db-3"}, done.output
    assert "db-2: " in done.words.partition("the rollout stops.")[2]
    assert [stands(each) for each in fleet.others] == stood[1:]
    assert version(fleet.canary) == "0.1.1", "the step before keeps what it has"
    others = "--limit=db-2,db-3"
    some = fleet.play("deploy", others, wheels=str(good), of={"db-2": {"wheels": str(bad)}}, max_fail_percentage=50)
    assert some.failed == {"db-2"}, some.output
    assert stands(fleet.others[0]) == stood[1]
    assert version(fleet.others[1]) == "0.1.1"

    fleet.played("upgrade", wheels=str(good))
    assert [version(each) for each in fleet.hosts] == ["0.1.1"] * 3
    assert fleet.played("upgrade", "--limit=db-2", wheels=str(good)).changes == {"db-2": 0}
    fleet.played("rollback")
    assert [version(each) for each in fleet.hosts] == ["0.1.0"] * 3
    again = fleet.played("rollback", "--limit=db-2")
    assert again.changes == {"db-2": 0}
    assert "No version before is kept on db-2" in again.words
    assert [kept(each) for each in fleet.hosts] == before
    assert central.asked(_STREAMS) == streams


_STREAMS = b"select agent_id, stream_id from store.ledger group by 1, 2 order by 1, 2"


def test_a_stuck_agent_is_restarted(fleet: Fleet) -> None:
    each = fleet.hosts[1]
    process = each.main_pid()
    each.host.run(f"kill -STOP {process}")
    until(lambda: each.main_pid() not in {process, 0}, "systemd does not restart it")
    assert "watchdog" in each.host.run("journalctl --unit pganalytics-agent --no-pager --lines=50").lower()


def test_the_tokens_are_told_to_nobody(fleet: Fleet, first: First) -> None:
    for name in ("pganalytics_agent_confirm_token", "pganalytics_agent_token"):
        for each in fleet.hosts:
            secret = str(each.options[name]).rpartition(".")[2]
            assert secret not in first.rollout.output + first.rehearsal.output


# The last: it takes the agent away.
def test_a_removal_says_what_it_keeps_and_else_leaves_nothing(fleet: Fleet, first: First) -> None:
    some = fleet.played("remove", "--limit=db-2", keep=["spool"])
    assert "Kept on db-2: /var/lib/pganalytics-agent/spool, and the account pganalytics" in some.words
    assert fleet.hosts[1].host.run("ls /var/lib/pganalytics-agent").split() == ["spool"]
    for each in fleet.hosts:
        each.options["pganalytics_monitoring_role_enabled"] = True
    assert "Nothing is kept on db-2" in fleet.played("remove").words
    assert {each.host.name: _everything(each.host.root) for each in fleet.hosts} == first.before
    for each in fleet.hosts:
        assert each.host.run("systemctl list-units --all --no-legend 'pganalytics*'") == ""
    assert fleet.played("remove", "--limit=db-2").changes == {"db-2": 0}
