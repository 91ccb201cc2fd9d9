"""The role `server` on a real host: Debian, systemd, PostgreSQL, ssh; operators and an agent that use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ansible.controller import Played
from tests.fleet import hosts
from tests.fleet.central import until
from tests.fleet.hosts import Network
from tests.fleet.images import base_image
from tests.fleet.managed import Managed, options_of, play, reached
from tests.fleet.releases import BOOKWORM
from tests.fleet.served import ADMIN, PASSWORD, Served, server_host
from tests.fleet.wheels import other_version, wheels

pytestmark = pytest.mark.fleet

#: Everything that lies where the role writes, the accounts, and what PostgreSQL has.
_EVERYTHING = (
    "find /etc /opt /usr/local /var/lib -path /var/lib/postgresql -prune -o -printf '%p %U:%G %m\\n'"
    " | grep -v pwd.lock | sort; cat /etc/passwd /etc/group; runuser -u postgres -- psql -XAtlc '\\du'"
)


@pytest.fixture(scope="module")
def installed(network: Network) -> Iterator[tuple[Served, dict[str, Played], str]]:
    """A host with the server, how it came there, and what was there before."""
    carried = wheels(network.folder, BOOKWORM.python, "standalone")
    with server_host(network, base_image(BOOKWORM.name), carried, "central-1", 31) as served:
        before = served.host.run(_EVERYTHING)
        runs = {"rehearsal": served.serve("--check", "--diff", "-vvv")}
        assert served.host.run(_EVERYTHING) == before, "a rehearsal changes nothing"
        runs["first"] = served.serve("--diff", "-vvv")
        yield served, runs, before


@pytest.fixture
def served(installed: tuple[Served, dict[str, Played], str]) -> Served:
    """A host with the server; who changes it puts it back."""
    return installed[0]


@pytest.fixture
def runs(installed: tuple[Served, dict[str, Played], str]) -> dict[str, Played]:
    """The runs that put the server on its host, with all that Ansible can tell of them."""
    return installed[1]


def test_a_rehearsal_tells_what_would_change_and_a_second_run_changes_nothing(
    served: Served, runs: dict[str, Played]
) -> None:
    assert runs["rehearsal"].changed > 10
    process, starts = served.main_pid(), served.starts()
    assert served.serve().changed == 0
    assert served.serve("--check").changed == 0
    assert (served.main_pid(), served.starts()) == (process, starts)
    assert process != 0
    assert starts == 1


def test_the_store_is_a_database_of_the_accounts_own(served: Served) -> None:
    assert served.asked("select pg_get_userbyid(datdba) from pg_database where datname = 'pganalytics'") == (
        "pganalytics_server"
    )
    assert served.asked("select rolsuper, rolpassword from pg_authid where rolname = 'pganalytics_server'") == "f|"
    health = json.loads(served.host.run(f"{_CURL} https://127.0.0.1:8480/v1/health"))
    assert (health["status"], health["store"]) == ("ok", "ok")


_CURL = (
    "python3 -c 'import ssl, sys, urllib.request as u;"
    " print(u.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read().decode())'"
)


def test_secrets_are_told_to_nobody_and_stay_on_the_host(served: Served, runs: dict[str, Played]) -> None:
    told = {"password": PASSWORD}
    for name, part in (("keys.json", '"k"'), ("authority.pem", "PRIVATE"), ("tls.key", "PRIVATE")):
        assert served.host.run(f"stat --format='%a %U' /etc/pganalytics-server/{name}") == "600 root\n"
        content = served.host.run(f"cat /etc/pganalytics-server/{name}")
        assert part in content
        told |= {f"{name} {number}": secret for number, secret in enumerate(_secrets(content))}
    assert len(told) > 5
    output = runs["rehearsal"].output + runs["first"].output
    journal = served.host.run("journalctl --output=cat --no-pager")
    processes = served.host.run("ps -ewwo args; cat /etc/systemd/system/pganalytics-server.service")
    for name, secret in told.items():
        assert secret not in output, name
        assert secret not in journal, name
        assert secret not in processes, name
    assert served.host.run("stat --format='%a %U' /etc/pganalytics-server") == "700 root\n"
    kept = served.host.run(f'grep -rlF "{PASSWORD}" /etc /opt/pganalytics-server /root /home /tmp /var/tmp || true')
    assert kept == ""


def _secrets(content: str) -> list[str]:
    """What is secret in a file of keys, in one piece: private values of a JWK Set, or the lines of a PEM key."""
    if content.startswith("{"):
        return [key["k"] for key in json.loads(content)["keys"]]
    private = content.partition("PRIVATE KEY-----\n")[2].partition("-----END")[0]
    return private.split()


def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(served: Served) -> None:
    assert served.host.run("systemd-analyze verify pganalytics-server.service 2>&1") == ""
    rated = served.host.run("systemd-analyze security --no-pager pganalytics-server.service")
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", rated)
    assert score is not None
    assert float(score[1]) <= 1.5, rated


def test_the_server_has_no_rights_and_limits(served: Served) -> None:
    status = dict(
        line.split(":\t", 1) for line in served.host.run(f"cat /proc/{served.main_pid()}/status").splitlines()
    )
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    limits = served.host.run("systemctl show --property=MemoryMax,TasksMax,LimitNOFILE pganalytics-server")
    assert sorted(limits.splitlines()) == ["LimitNOFILE=12000", "MemoryMax=2147483648", "TasksMax=512"]


def test_an_agent_enrols_with_an_operators_token_and_its_batches_arrive(
    served: Served, network: Network, tmp_path: Path
) -> None:
    carried = wheels(network.folder, BOOKWORM.python)
    served.log_in()
    (tmp_path / "fleet.toml").write_text("upload_every_seconds = 1\n")
    served.operator("config", "apply", str(tmp_path / "fleet.toml"), "--comment", "haste")
    token = served.operator("enrolment", "create", "--uses", "1")
    viewer = served.host.run(
        "/opt/pganalytics-server/current/bin/pganalytics token issue --operator rollout --role viewer"
        " --keys-file /etc/pganalytics-server/keys.json"
    )
    folder = network.folder / "db-31.controller"
    folder.mkdir()
    with network.host("db-31", 32, base_image(BOOKWORM.name)) as host:
        options = {
            **reached(host),
            "pganalytics_agent_server_url": served.url,
            "pganalytics_agent_ca_source": str(served.ca_file),
            "pganalytics_agent_enrolment_token": token,
            "pganalytics_agent_confirm_token": viewer.strip(),
            "pganalytics_agent_wheels": str(carried),
        }
        managed = Managed(host, folder, options)
        try:
            managed.played("deploy")
            arrived = (
                "select count(*) > 0 from store.run r join store.target t using (target_id) where agent_id = 'db-31'"
            )
            until(lambda: served.asked(arrived) == "t", "its batches do not arrive")
        finally:
            managed.hang_up()
    assert "db-31" in served.operator("agents", "--json")


def test_another_installation_with_other_options_restarts_the_server_once(served: Served) -> None:
    environment, starts = served.host.run("readlink /opt/pganalytics-server/current"), served.starts()
    # PostgreSQL takes it over TCP, where peers are not let in.
    secret = "it's a \\ secret of 100%"
    options = {"version": "0.1.0", "client_certificates": True, "store_password": secret}
    upgraded = served.serve("--diff", "-vvv", **options)
    other = served.host.run("readlink /opt/pganalytics-server/current")
    assert other != environment, upgraded.output
    assert served.host.run("ls -d /opt/pganalytics-server/environments/*") == other
    assert served.starts() == starts + 1
    assert secret not in upgraded.output
    assert "a \\\\ secret" not in upgraded.output
    kept = served.asked("select rolpassword from pg_authid where rolname = 'pganalytics_server'")
    assert kept.startswith("SCRAM-SHA-256$4096:")
    shown = served.host.run(
        "/opt/pganalytics-server/current/bin/pganalytics authority show"
        " --authority-file /etc/pganalytics-server/authority.pem"
    )
    assert served.host.run("cat /etc/pganalytics-server/agents-ca.pem") == shown
    again = served.serve(**options)
    assert again.changed == 0, again.output
    assert served.starts() == starts + 1


def test_keys_that_were_rotated_are_the_servers_with_the_next_run(served: Served) -> None:
    served.log_in()
    # Keys that are younger than 20 minutes do not rotate; whoever has no such patience ends every token.
    served.host.run(
        "/opt/pganalytics-server/current/bin/pganalytics keys rotate --at-once"
        " --keys-file /etc/pganalytics-server/keys.json"
    )
    kept = served.host.run("stat --format='%a %U' /etc/pganalytics-server/keys.json")
    assert kept == "600 root\n"
    starts = served.starts()
    assert served.serve().changed > 0
    assert served.starts() == starts + 1
    assert ADMIN in served.operator("users", "list"), "the session goes on with a token of the new keys"
    assert served.serve().changed == 0


def test_a_version_that_does_not_start_is_returned_to_the_one_before(served: Served, tmp_path: Path) -> None:
    stood = served.host.run(_STANDS)
    bad = other_version(
        Path(served.options["pganalytics_server_wheels"]), "0.1.1", tmp_path / "bad", broken="standalone"
    )
    refused = served.play("server", wheels=str(bad), drain_seconds=20)
    assert refused.failed == {"central-1"}, refused.output
    assert "this wheel is broken" in refused.words
    assert "What ran before runs again." in refused.words
    assert served.host.run(_STANDS) == stood
    assert len(served.host.run("ls /opt/pganalytics-server/environments").split()) == 1
    assert served.serve().changed == 0


_STANDS = (
    "sha256sum /etc/systemd/system/pganalytics-server.service; readlink /opt/pganalytics-server/current;"
    f" {_CURL} https://127.0.0.1:8480/v1/health | grep -o ok; systemctl is-active pganalytics-server"
)

#: What cannot work, by the name of a host that stands for it, and how it is to be mended.
_REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no-python": ({"python": "/bin/false"}, "or name another with pganalytics_server_python"),
    "of-others": ({"user": "backup"}, "choose another name with pganalytics_server_user"),
    "no-postgresql": ({"store_port": 5999}, "or name the store that there is with pganalytics_server_store_dsn"),
    "no-peer": ({"store_role": "postgres"}, "or give the role's password with pganalytics_server_store_password"),
    "their-database": (
        {"store_database": "postgres"},
        "choose another name with pganalytics_server_store_database",
    ),
    "type": ({"port": "many"}, "pganalytics_server_port"),
    "no-pair": ({}, "are no certificate chain and its key"),
}


def test_what_cannot_work_is_refused_before_anything_changes(served: Served, tmp_path: Path) -> None:
    before, starts = served.host.run(_EVERYTHING), served.starts()
    stranger = tmp_path / "other.key"
    hosts.run("openssl", "genpkey", "-algorithm", "ed25519", "-out", stranger)
    all_of_them = {name: {**served.options, **options_of("server", options)} for name, (options, _) in _REFUSED.items()}
    all_of_them["no-pair"]["pganalytics_server_tls_key_source"] = str(stranger)
    arguments = ("--forks", str(len(all_of_them)))
    refused = play(served.host.network, served.folder, "server", {"pganalytics_server": all_of_them}, *arguments)
    assert (refused.failed, refused.changed) == (set(all_of_them), 0), refused.output
    said = refused.said()
    assert [name for name, (_, mend) in _REFUSED.items() if mend not in said[name]] == [], said
    assert (served.host.run(_EVERYTHING), served.starts()) == (before, starts)


# The last: it takes the server away.
def test_a_removal_keeps_what_only_the_server_had_unless_it_is_told_otherwise(
    installed: tuple[Served, dict[str, Played], str],
) -> None:
    served, _, before = installed
    known, stands = served.host.run(_KNOWN), served.host.run(_STANDS)
    assert served.played("remove_server", "--check").changed > 0
    assert served.host.run(_STANDS) == stands, "a rehearsal changes nothing"
    some = served.played("remove_server")
    assert (
        "Kept on central-1: the database pganalytics and its owner; /var/lib/pganalytics-server and the account"
        " pganalytics_server; /etc/pganalytics-server." in some.words
    )
    assert served.host.run("ls /opt; systemctl list-units --all --no-legend 'pganalytics-server*'") == ""
    served.serve()
    assert served.host.run(_KNOWN) == known, "it goes on with what was kept"
    assert "Nothing is kept on central-1" in served.played("remove_server", keep=[]).words
    assert served.host.run(_EVERYTHING) == before


_KNOWN = (
    "cat /etc/pganalytics-server/keys.json /etc/pganalytics-server/authority.pem;"
    " runuser -u postgres -- psql -XAtd pganalytics -c 'select count(*) from store.ledger'"
)
