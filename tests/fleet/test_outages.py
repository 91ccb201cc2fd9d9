"""What hosts go through in their lives, with an agent on them: cuts, reboots, and a PostgreSQL that comes and goes."""

from __future__ import annotations

import shutil
from datetime import datetime

import pytest

from agent.spooled import entries
from tests.fleet.central import Central, until
from tests.fleet.managed import Managed
from tests.matrix.servers import UnavailableError, installation

pytestmark = pytest.mark.fleet

#: The major version to which PostgreSQL is upgraded on a host: not of Debian, whose releases have one each.
_NEWER = 17

#: After an outage the agent tries again at random times within a stretch that doubled with each failure.
_PATIENCE = 240.0

_RUNS = b"""
select r.status, r.detail from store.run r join store.target t using (target_id)
where t.agent_id = %s and t.name = %s and r.collector = %s and r.started_at > %s
order by r.started_at
"""

_MESSAGES = b"""
select e.message from metric.log_event e join store.target t using (target_id)
where t.agent_id = %s and t.name = 'main' and e.message = %s
"""


def waiting(managed: Managed) -> set[int]:
    """The places in their stream of the batches that wait in the spool."""
    return {entry.seq for entry in entries(managed.host.root / "var/lib/pganalytics-agent/spool")}


def loaded(central: Central, managed: Managed) -> set[int]:
    """The same of those that are in the store, of the stream that is sent now."""
    found = central.asked(
        b"""
        select seq from store.ledger where (agent_id, stream_id) = (
            select agent_id, stream_id from store.ledger where agent_id = %s order by sent_at desc limit 1)
        """,
        managed.host.name,
    )
    return {seq for (seq,) in found if isinstance(seq, int)}


def now(central: Central) -> datetime:
    ((instant,),) = central.asked(b"select clock_timestamp()")
    assert isinstance(instant, datetime)
    return instant


def statuses(central: Central, managed: Managed, collector: str, since: datetime) -> list[object]:
    return [status for status, _ in central.asked(_RUNS, managed.host.name, "main", collector, since)]


def _is_read(central: Central, managed: Managed) -> None:
    """PostgreSQL is read from now on."""
    since = now(central)
    until(lambda: "ok" in statuses(central, managed, "archiver", since), "PostgreSQL is not read", _PATIENCE)


def _arrives_whole(central: Central, managed: Managed) -> None:
    """No place in the stream stays empty; batches are loaded in any order."""

    def whole() -> bool:
        arrived = loaded(central, managed)
        return arrived == set(range(max(arrived) + 1))

    until(whole, "batches are missing")


def test_what_was_read_while_the_wire_was_cut_arrives_afterwards_and_nothing_is_lost(
    deployed: Managed, central: Central
) -> None:
    process = deployed.main_pid()
    until(lambda: loaded(central, deployed) != set(), "nothing arrives before the cut")
    with deployed.host.cut():
        # Two minutes and more, at a batch a second.
        until(lambda: len(waiting(deployed)) >= 120, "nothing is spooled", _PATIENCE)
        held = waiting(deployed)
    until(lambda: held <= loaded(central, deployed), "what was spooled does not arrive", _PATIENCE)
    until(lambda: len(waiting(deployed)) < 3, "the spool is not drained", _PATIENCE)
    _arrives_whole(central, deployed)
    assert central.asked(b"select reason, detail from store.gaps where agent_id = %s", "db-1") == []
    assert deployed.main_pid() == process


def test_a_reboot_keeps_the_agent_and_what_it_had_spooled(deployed: Managed, central: Central) -> None:
    process = deployed.main_pid()
    with deployed.host.refused(central.port):
        until(lambda: len(waiting(deployed)) >= 5, "nothing is spooled", _PATIENCE)
        held = waiting(deployed)
        deployed.host.reboot()
        until(lambda: deployed.main_pid() not in {process, 0}, "the agent does not come up")
        until(lambda: waiting(deployed) > held, "it does not go on where it stopped")
    until(lambda: held <= loaded(central, deployed), "what was spooled does not arrive", _PATIENCE)
    _arrives_whole(central, deployed)
    _is_read(central, deployed)


def test_a_server_that_stops_is_told_of_and_read_again_when_it_starts(deployed: Managed, central: Central) -> None:
    process, stopped = deployed.main_pid(), now(central)
    deployed.host.run("systemctl stop postgresql.service 'postgresql@*'")
    until(lambda: "error" in statuses(central, deployed, "archiver", stopped), "nobody hears that it stopped")
    details = [
        detail for status, detail in central.asked(_RUNS, "db-1", "main", "archiver", stopped) if status == "error"
    ]
    assert "connect" in str(details[0])
    deployed.host.run("systemctl start postgresql.service")
    _is_read(central, deployed)
    deployed.host.run("systemctl restart postgresql.service")
    _is_read(central, deployed)
    assert deployed.main_pid() == process


def test_log_lines_arrive_once_from_before_and_after_a_rotation(deployed: Managed, central: Central) -> None:
    # Of what a message says only the names of objects are sent.
    def logged(name: str) -> None:
        assert deployed.host.ask(f"runuser -u postgres -- psql -qc 'select from {name}'") == 1

    def said(name: str) -> int:
        return len(central.asked(_MESSAGES, "db-1", f'relation "{name}" does not exist'))

    logged("before_the_rotation")
    until(lambda: said("before_the_rotation") > 0, "the line before does not arrive")
    files = deployed.host.run("ls -i /var/log/postgresql")
    # Debian's own rotation, which copies and truncates.
    deployed.host.run("logrotate --force /etc/logrotate.d/postgresql-common")
    assert deployed.host.run("ls -i /var/log/postgresql") != files
    logged("after_the_rotation")
    until(lambda: said("after_the_rotation") > 0, "the line after does not arrive")
    assert (said("before_the_rotation"), said("after_the_rotation")) == (1, 1)


def test_a_server_is_read_on_after_it_was_upgraded(deployed: Managed, central: Central) -> None:
    try:
        newer = installation(_NEWER)
    except UnavailableError as error:
        pytest.skip(f"PostgreSQL {_NEWER} cannot be had: {error}")
    process, host = deployed.main_pid(), deployed.host
    shutil.copytree(newer, host.root / f"usr/lib/postgresql/{_NEWER}", symlinks=True)
    host.run(f"ln -s /usr/lib/postgresql/{_NEWER}/share /usr/share/postgresql/{_NEWER}")
    before = host.sql("show server_version_num")
    host.run(f"pg_upgradecluster --method=upgrade -v {_NEWER} {before[:2]} main")
    assert host.sql("show server_version_num").startswith(str(_NEWER))
    _is_read(central, deployed)
    until(lambda: central.asked(_OF_MAJOR, "db-1", _NEWER) != [], "the new version is not told", _PATIENCE)
    assert deployed.main_pid() == process


_OF_MAJOR = b"""
select 1 from metric.cluster c join store.target t using (target_id)
where t.agent_id = %s and t.name = 'main' and c.server_version_num / 10000 = %s
"""
