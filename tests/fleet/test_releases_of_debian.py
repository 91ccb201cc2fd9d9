"""The agent on the other releases of Debian: a newer one, where hosts enrol, and one that is too old for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ansible.controller import Played
from tests.fleet import hosts
from tests.fleet.central import Central, until
from tests.fleet.conftest import Site
from tests.fleet.managed import Managed
from tests.fleet.releases import BULLSEYE, CARRIED_PYTHON, TRIXIE, carried_python

pytestmark = pytest.mark.fleet

_READ = b"""
select 1 from store.run r join store.target t using (target_id)
where t.agent_id = %s and t.name = %s and r.collector = %s and r.status = 'ok'
"""

# Every command line and environment that there is, again and again: what begins as a token does, and one that has to
# be seen.
_WATCHER = """
systemd-run --quiet --unit=watcher --property=StandardOutput=append:/run/watched sh -c '
while sleep 0.1; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; done |
grep --line-buffered -aoE "pge_[[:alnum:]_-]{4}"'
env MARK=pge_mark sleep 1
"""


@pytest.fixture(scope="module")
def trixie(site: Site) -> Iterator[tuple[Managed, Played]]:
    """A host that was enrolled, and how; all command lines on it were watched for tokens."""
    with site.managed("db-17", 17, TRIXIE) as bare:
        options = {name: value for name, value in bare.options.items() if name != "pganalytics_agent_token"}
        options["pganalytics_agent_enrolment_token"] = site.central.enrolment_token()
        managed = replace(bare, options=options)
        managed.host.run(_WATCHER)
        played = managed.played("deploy", "--diff", "-vvv")
        managed.host.run("systemctl stop watcher")
        yield managed, played


def test_an_enrolled_host_is_read_and_a_second_run_changes_nothing(
    trixie: tuple[Managed, Played], central: Central
) -> None:
    managed, _ = trixie
    until(lambda: central.asked(_READ, "db-17", "main", "archiver") != [], "PostgreSQL's metrics do not arrive")
    until(lambda: central.asked(_READ, "db-17", "host", "host_load") != [], "the host's metrics do not arrive")
    assert managed.host.sql("show server_version_num").startswith(str(TRIXIE.postgresql))
    assert managed.played("deploy").changed == 0


def test_neither_the_enrolment_token_nor_the_key_is_told_to_anybody(trixie: tuple[Managed, Played]) -> None:
    managed, played = trixie
    token = str(managed.options["pganalytics_agent_enrolment_token"])
    identity = managed.host.root / "var/lib/pganalytics-agent/identity"
    (key,) = {text.splitlines()[1] for text in _texts(identity) if "PRIVATE KEY" in text}
    for secret in (token, key):
        assert secret not in played.output
        assert managed.host.ask(f"journalctl --no-pager | grep -vF 'grep -' | grep -qF -- '{secret}'") == 1
        assert managed.host.ask(f"systemctl cat pganalytics-agent | grep -qF -- '{secret}'") == 1
    assert managed.host.ask(f"grep -rqF -- '{token}' /etc /opt /var/lib /root /home /tmp /var/tmp") == 1
    assert set(managed.host.run("cat /run/watched").split()) == {"pge_mark"}


def _texts(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.rglob("*") if path.is_file()]


def test_the_unit_is_sound_to_the_newer_systemd(trixie: tuple[Managed, Played]) -> None:
    managed, _ = trixie
    assert managed.host.run("systemd-analyze verify pganalytics-agent.service 2>&1") == ""
    assert managed.host.ask("systemd-analyze security --threshold=15 pganalytics-agent.service") == 0


@pytest.fixture(scope="module")
def bullseye(site: Site) -> Iterator[Managed]:
    """A host whose Python and PostgreSQL are too old; a Python that is new enough is carried to it."""
    with site.managed("db-13", 13, BULLSEYE) as managed:
        hosts.run("tar", "--extract", "--file", carried_python(), "--directory", managed.host.root)
        # By hand: the role `monitoring_role` refuses such a server.
        managed.host.sql("create role pganalytics login; grant pg_monitor to pganalytics")
        yield managed


def test_a_python_that_is_too_old_is_refused_before_anything_changes(bullseye: Managed) -> None:
    refused = bullseye.play("deploy")
    assert (refused.code != 0, refused.changed) == (True, 0)
    assert "/usr/bin/python3 is no Python 3.11 or newer" in refused.words
    assert "name another with pganalytics_agent_python" in refused.words


def test_a_host_whose_server_is_too_old_is_itself_read_and_its_agent_watched_over(
    bullseye: Managed, central: Central
) -> None:
    bullseye.played("deploy", python=CARRIED_PYTHON, targets=[], watchdog_seconds=10)
    until(lambda: central.asked(_READ, "db-13", "host", "host_load") != [], "the host's metrics do not arrive")
    watched = bullseye.host.run("systemctl show --property=Type,ActiveState,WatchdogUSec pganalytics-agent")
    assert set(watched.split()) == {"Type=notify", "ActiveState=active", "WatchdogUSec=10s"}
    process = bullseye.main_pid()
    bullseye.host.run(f"kill -STOP {process}")
    until(lambda: bullseye.main_pid() not in {process, 0}, "systemd does not restart an agent that is stuck")
    assert bullseye.host.run("systemd-analyze verify pganalytics-agent.service 2>&1") == ""
    # And where the server stays among the targets, it costs nothing but its own readings.
    settings = bullseye.host.run("cat /etc/pganalytics/agent.toml") + _TARGET
    (bullseye.host.root / "etc/pganalytics/other.toml").write_text(settings)
    command = "runuser -u pganalytics -- /opt/pganalytics/current/bin/pganalytics-agent once --json --settings"
    bullseye.host.run("chmod 644 /etc/pganalytics/other.toml")
    batch = json.loads(bullseye.host.run(f"{command} /etc/pganalytics/other.toml"))
    statuses = {(run["target"], run["status"]) for run in batch["runs"]}
    assert ("host", "ok") in statuses
    # Skipped is the log, of which the settings name no files.
    assert {status for target, status in statuses if target == "main"} == {"unsupported", "skipped"}
    assert not [frame for frame in batch["frames"] if frame["target"] == "main"]


_TARGET = """
[[targets]]
name = "main"
dsn = "host=/var/run/postgresql user=pganalytics dbname=postgres"
"""


def test_a_server_that_is_too_old_is_refused_by_name(bullseye: Managed) -> None:
    refused = bullseye.play("deploy", python=CARRIED_PYTHON)
    assert refused.code != 0
    assert "is not watched, 14 is the oldest; upgrade it, or take it out of the targets" in " ".join(
        refused.output.split()
    )
