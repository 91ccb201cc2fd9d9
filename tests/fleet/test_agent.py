"""The role `agent` on a real host: Debian, systemd, PostgreSQL, ssh, and a server that takes the batches."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.ansible.controller import Played, installed
from tests.fleet.central import Central, until
from tests.fleet.managed import ONE_STEP, Managed, options_of, play

pytestmark = pytest.mark.fleet

#: What a running host, its shells and its package manager write by themselves.
_BUSY = (
    *("dev", "proc", "run", "sys", "tmp", "root/.ansible", "home/keeper/.ansible", "etc/.pwd.lock"),
    *("var/cache", "var/lib/postgresql", "var/lib/systemd", "var/log", "var/tmp"),
    # Copies of the files before the last change of an account.
    *(f"etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow", "subgid", "subuid")),
)

_ACCOUNTS = ("etc/group", "etc/gshadow", "etc/passwd", "etc/shadow", "etc/subgid", "etc/subuid")


def _everything(root: Path) -> dict[str, tuple[object, ...]]:
    """What lies on the host: every path with owner and mode, and the accounts."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if str(inside / name) not in _BUSY]
        for name in (*folders, *files):
            if str(inside / name) not in _BUSY and name != "__pycache__" and not name.endswith(".pyc"):
                status = (root / inside / name).lstat()
                found[str(inside / name)] = (status.st_uid, status.st_gid, status.st_mode)
    for name in _ACCOUNTS:
        found[name] += (sorted((root / name).read_text().splitlines()),)
    return found


def test_a_rehearsal_where_all_is_done_has_nothing_to_do(deployed: Managed) -> None:
    process = deployed.main_pid()
    assert deployed.played("deploy", "--check").changed == 0
    assert deployed.main_pid() == process != 0


def test_the_collection_that_is_built_and_installed_does_what_the_checkout_does(
    deployed: Managed, tmp_path: Path
) -> None:
    installed(tmp_path)
    hosts = {"pganalytics_agents": {deployed.host.name: deployed.options}}
    done = play(deployed.host.network, deployed.folder, Path("pganalytics.fleet.deploy"), hosts, cwd=tmp_path)
    assert done.well().changes == {deployed.host.name: 0}


def test_what_the_agent_reads_arrives_in_the_bucket_and_in_the_store(deployed: Managed, central: Central) -> None:
    known = set(central.objects("db-1"))
    until(lambda: set(central.objects("db-1")) > known, "no batch arrives in the bucket")
    until(lambda: central.asked(_READ, "db-1", "main", "database_stats") != [], "PostgreSQL's metrics do not arrive")
    until(lambda: central.asked(_READ, "db-1", "host", "host_filesystem") != [], "the host's metrics do not arrive")
    assert central.asked(_FAILED, "db-1") == []


_READ = b"""
select 1 from store.run r join store.target t using (target_id)
where t.agent_id = %s and t.name = %s and r.collector = %s and r.status = 'ok'
"""

_FAILED = b"""
select r.collector, r.status, r.detail from store.run r join store.target t using (target_id)
where t.agent_id = %s and r.status in ('error', 'permission', 'timeout')
"""


def test_the_token_is_told_to_nobody(deployed: Managed, first_run: Played) -> None:
    # Its end, the signature, is what makes it a token.
    secret = str(deployed.options["pganalytics_agent_token"]).rpartition(".")[2]
    assert secret not in first_run.output
    assert deployed.host.run("stat --format='%a %U %G' /etc/pganalytics/token") == "600 pganalytics pganalytics\n"
    assert deployed.host.run(f"grep -rlF {secret} /etc /opt/pganalytics /var/lib/pganalytics-agent") == (
        "/etc/pganalytics/token\n"
    )
    told = "systemctl cat pganalytics-agent; ps -ewwo args; cat /proc/[0-9]*/environ; journalctl --no-pager"
    assert deployed.host.ask(f"({told}) | grep -avF 'grep -' | grep -aqF {secret}") == 1


def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(deployed: Managed) -> None:
    assert deployed.host.run("systemd-analyze verify pganalytics-agent.service 2>&1") == ""
    rated = deployed.host.run("systemd-analyze security --no-pager pganalytics-agent.service").splitlines()[-1]
    assert float(rated.split(": ")[1].split()[0]) <= 1.5


def test_the_agent_has_no_rights_and_gives_way_to_the_database(deployed: Managed) -> None:
    status = dict(
        line.split(":\t", 1) for line in deployed.host.run(f"cat /proc/{deployed.main_pid()}/status").splitlines()
    )
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    assert deployed.host.run(f"cat /proc/{deployed.main_pid()}/oom_score_adj") == "500\n"
    names = "MemoryMax,TasksMax,CPUQuotaPerSecUSec,IOWeight,IOReadBandwidthMax,IOWriteBandwidthMax"
    limits = dict(
        line.split("=", 1)
        for line in deployed.host.run(f"systemctl show --property={names} pganalytics-agent").splitlines()
    )
    assert limits == {
        "CPUQuotaPerSecUSec": "500ms",
        "IOReadBandwidthMax": "/var/lib 32000000",
        "IOWriteBandwidthMax": "/var/lib 32000000",
        "IOWeight": "20",
        "MemoryMax": "268435456",
        "TasksMax": "64",
    }


def test_a_killed_agent_is_started_again(deployed: Managed) -> None:
    process = deployed.main_pid()
    deployed.host.run(f"kill -KILL {process}")
    until(lambda: deployed.main_pid() not in {process, 0}, "systemd does not start it again")


def test_settings_that_the_agent_would_refuse_never_reach_it(deployed: Managed) -> None:
    process, settings = deployed.main_pid(), deployed.host.run("cat /etc/pganalytics/agent.toml")
    refused = deployed.play("deploy", targets=[{"name": "main", "dsn": "password=secret"}])
    assert refused.code != 0
    assert "a password does not belong here" in refused.output
    assert deployed.host.run("cat /etc/pganalytics/agent.toml") == settings
    assert deployed.main_pid() == process


def test_another_installation_restarts_the_agent_and_the_one_before_is_kept(deployed: Managed) -> None:
    process, environment = deployed.main_pid(), deployed.host.run("readlink /opt/pganalytics/current")
    deployed.options["pganalytics_agent_version"] = "0.1.0"
    deployed.played("deploy")
    assert deployed.main_pid() not in {process, 0}
    other = deployed.host.run("readlink /opt/pganalytics/current")
    assert other != environment
    kept = deployed.host.run("ls -d /opt/pganalytics/environments/*")
    assert set(kept.splitlines()) == {other.strip(), environment.strip()}
    assert deployed.host.run("readlink /opt/pganalytics/previous") == environment


def test_a_restart_that_an_interrupted_deployment_owes_is_made_up_for(deployed: Managed) -> None:
    process = deployed.main_pid()
    deployed.host.run("touch /etc/systemd/system/pganalytics-agent.service")  # as the task before the interruption did
    deployed.played("deploy")
    assert deployed.main_pid() not in {process, 0}


def test_a_new_token_is_used_without_a_restart(deployed: Managed, central: Central) -> None:
    process = deployed.main_pid()
    deployed.options["pganalytics_agent_token"] = central.token("db-1")
    assert deployed.played("deploy").changed == 1
    assert deployed.main_pid() == process


#: What is missing or wrong, by the name of a host that stands for it, and how it is to be mended.
_REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no-python": ({"python": "/bin/false"}, "or name another with pganalytics_agent_python"),
    "python-nowhere": ({"python": "/nowhere/python3"}, "or name another with pganalytics_agent_python"),
    "of-others": ({"user": "postgres"}, "choose another name with pganalytics_agent_user"),
    "no-token": (
        {"token": "", "token_file": "/nowhere/token"},
        "give pganalytics_agent_enrolment_token, or an access token",
    ),
    "two-tokens": ({"enrolment_token": "pge_"}, "leave one of them out"),
    "no-wheels": ({"wheels": "/nowhere"}, "name the folder that has it with pganalytics_agent_wheels"),
    "no-version": (
        {"wheels": "", "version": ""},
        "Name the version to install from the index with pganalytics_agent_version",
    ),
    "credentials": (
        {"wheels": "", "version": "1", "index_url": "https://a:b@c.example.org/"},
        "put them into /etc/pip.conf",
    ),
    "wrong-type": ({"tasks_max": "many"}, "pganalytics_agent_tasks_max"),
}


def test_what_is_missing_is_named_before_anything_changes(deployed: Managed) -> None:
    before = _everything(deployed.host.root)
    hosts = {name: {**deployed.options, **options_of("agent", options)} for name, (options, _) in _REFUSED.items()}
    arguments = (*ONE_STEP, "--forks", str(len(hosts)))
    refused = play(deployed.host.network, deployed.folder, "deploy", {"pganalytics_agents": hosts}, *arguments)
    assert (refused.failed, refused.changed) == (set(hosts), 0), refused.output
    said = re.split(f"({'|'.join(hosts)}): ", refused.words.rpartition("the rollout stops. ")[2])
    whys = dict(zip(said[1::2], said[2::2], strict=True))
    assert [name for name, (_, mend) in _REFUSED.items() if mend not in whys[name]] == [], whys
    assert _everything(deployed.host.root) == before
