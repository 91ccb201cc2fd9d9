"""The agent on the other releases of Debian: a newer one, where hosts enrol, and one that is too old for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fleet import hosts
from tests.fleet.central import Central, until
from tests.fleet.conftest import CACHE, Managed, Played, Site
from tests.fleet.releases import BULLSEYE, CARRIED_PYTHON, TRIXIE, carried_python

pytestmark = pytest.mark.fleet

_READ = b"""
select 1 from store.run r join store.target t using (target_id)
where t.agent_id = %s and t.name = %s and r.collector = %s and r.status = 'ok'
"""

# Every command line and environment that there is, again and again.
_WATCHER = """
systemd-run --quiet --unit=watcher --property=StandardOutput=append:/run/watched sh -c '
while :; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; done | grep -aoE "pge_[[:alnum:]_-]{4}|kill-time"'
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
    (key,) = {
        path.read_text().strip().splitlines()[1] for path in identity.rglob("*") if b"PRIVATE KEY" in _content(path)
    }
    for secret in (token, key):
        assert secret not in played.output
        assert managed.host.ask(f"journalctl --no-pager | grep -vF 'grep -' | grep -qF -- '{secret}'") == 1
        assert managed.host.ask(f"systemctl cat pganalytics-agent | grep -qF -- '{secret}'") == 1
    assert managed.host.ask(f"grep -rqF -- '{token}' /etc /opt /var/lib /root /home /tmp /var/tmp") == 1
    assert managed.host.run("cat /run/watched") == ""


def _content(path: object) -> bytes:
    from pathlib import Path

    assert isinstance(path, Path)
    return path.read_bytes() if path.is_file() else b""


def test_the_unit_is_sound_to_the_newer_systemd(trixie: tuple[Managed, Played]) -> None:
    managed, _ = trixie
    assert managed.host.run("systemd-analyze verify pganalytics-agent.service 2>&1") == ""
    assert managed.host.ask("systemd-analyze security --threshold=15 pganalytics-agent.service") == 0


@pytest.fixture(scope="module")
def bullseye(site: Site) -> Iterator[Managed]:
    """A host whose Python and PostgreSQL are too old; a Python that is new enough is carried to it."""
    with site.managed("db-13", 13, BULLSEYE) as managed:
        hosts.run("tar", "--extract", "--file", carried_python(CACHE), "--directory", managed.host.root)
        yield managed


def test_a_python_that_is_too_old_is_refused_before_anything_changes(bullseye: Managed) -> None:
    refused = bullseye.play("deploy")
    assert (refused.code != 0, refused.changed) == (True, 0)
    assert "/usr/bin/python3 is no Python 3.11 or newer" in " ".join(refused.output.split())
    assert "name another with pganalytics_agent_python" in " ".join(refused.output.split())


def test_a_server_that_is_too_old_is_refused_by_name(bullseye: Managed) -> None:
    refused = bullseye.play("deploy", python=CARRIED_PYTHON)
    assert refused.code != 0
    assert "is not watched; upgrade to 14 or newer" in " ".join(refused.output.split())


def test_a_host_whose_server_is_too_old_is_itself_read(bullseye: Managed, central: Central) -> None:
    bullseye.played("deploy", python=CARRIED_PYTHON, targets=[])
    until(lambda: central.asked(_READ, "db-13", "host", "host_load") != [], "the host's metrics do not arrive")
    assert bullseye.host.run("systemctl is-active pganalytics-agent") == "active\n"
    assert bullseye.host.run("systemd-analyze verify pganalytics-agent.service 2>&1") == ""
    # And where the server stays among the targets, it costs nothing but its own readings.
    settings = '[[targets]]\nname = "main"\ndsn = "host=/var/run/postgresql user=pganalytics dbname=postgres"\n'
    told = bullseye.host.run(
        f"runuser -u pganalytics -- sh -c 'cat /etc/pganalytics/agent.toml - > /tmp/agent.toml &&"
        f" /opt/pganalytics/current/bin/pganalytics-agent once --settings /tmp/agent.toml --json' <<'END'\n{settings}END"
    )
    batch = json.loads(told)
    statuses = {run["target"]: set() for run in batch["runs"]}
    for run in batch["runs"]:
        statuses[run["target"]].add(run["status"])
    assert "ok" in statuses["host"]
    assert statuses["main"] == {"unsupported"}
    assert {frame["target"] for frame in batch["frames"]} <= {"host", "agent"}
