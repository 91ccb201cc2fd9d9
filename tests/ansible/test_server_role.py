"""What the role `server` writes is what the server, systemd and PostgreSQL read; what cannot work is named."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from cli.serve import serve
from infra.standalone.embedded import EmbeddedPostgres
from tests.ansible.controller import ansible, play, rendered
from tests.ansible.options import COLLECTION, specified

_ROLE = COLLECTION / "roles/server"

_NO_FILES = {"results": [{"stat": {"exists": False}}, {"stat": {"exists": False}}]}
_FILES = {"results": [{"stat": {"exists": True}}, {"stat": {"exists": True}}]}

#: Every option that comes to stand in the unit, none with its default.
_EVERYTHING: dict[str, Any] = {
    "_pganalytics_server_found_tls": _FILES,
    "pganalytics_server_host": "::",
    "pganalytics_server_port": 443,
    "pganalytics_server_tls_cert": "/srv/tls.pem",
    "pganalytics_server_tls_key": "/srv/tls.key",
    "pganalytics_server_client_certificates": True,
    "pganalytics_server_bucket_url": "file:///srv/100%/b",
    "pganalytics_server_settings_directory": "/srv/settings",
    "pganalytics_server_state_directory": "/srv/state",
    "pganalytics_server_agent_rate": 1.5,
    "pganalytics_server_address_rate": 0.0,
    "pganalytics_server_max_connections": 20,
    "pganalytics_server_address_connections": 10,
    "pganalytics_server_drain_seconds": 7,
}


def _parsed(file: Path) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", " ", file.read_text()).splitlines()
    return [(name, value) for name, is_, value in (line.partition("=") for line in lines) if is_ and name[0] != "#"]


def _told(unit: list[tuple[str, str]]) -> dict[str, str]:
    """What the environment says, as systemd reads it."""
    (words,) = zip(*(shlex.split(value) for name, value in unit if name == "Environment"), strict=True)
    return dict(word.replace("%%", "%").split("=", 1) for word in words)


def _started(unit: list[tuple[str, str]]) -> list[str]:
    return shlex.split(dict(unit)["ExecStart"])


def _as_it_is(value: object) -> object:
    """A value in which Ansible looks for no expressions, as it does not in what Vault had encrypted."""
    return {"__ansible_unsafe": value} if isinstance(value, str) else value


_UNIT, _DSN = "pganalytics-server.service.j2", "store.dsn.j2"
_PASSWORD = {"store_password": "it's \\ {{ x }}", "store_role": "a b", "store_database": "d'b", "store_port": 1}

#: What is rendered, by the name of a host.
_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "everything": (_UNIT, _EVERYTHING),
    "proxy": (_UNIT, {"_pganalytics_server_found_tls": _NO_FILES, "pganalytics_server_plain_http": True}),
    "peer": (_DSN, {}),
    "password": (_DSN, {f"pganalytics_server_{name}": _as_it_is(value) for name, value in _PASSWORD.items()}),
    "elsewhere": (_DSN, {"pganalytics_server_store_dsn": _as_it_is("postgresql://u@db/store\n")}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them, of one run of Ansible."""
    return rendered(tmp_path_factory.mktemp("made"), _CASES, role=_ROLE)


@pytest.fixture
def everything(made: dict[str, Path]) -> list[tuple[str, str]]:
    return _parsed(made["everything"])


def test_every_setting_of_the_server_has_its_place_in_the_unit(everything: list[tuple[str, str]]) -> None:
    given = {word.partition("=")[0][2:].replace("-", "_") for word in _started(everything)[2:]}
    given |= {name.removeprefix("PGANALYTICS_").lower() for name in _told(everything)}
    # The connection string is found as a credential, and the role migrates. Nobody waits for a file. HTTP: see below.
    assert given == set(inspect.signature(serve).parameters) - {"store_dsn_file", "migrate", "ready_file", "plain_http"}


def test_the_variables_are_those_that_the_server_reads(everything: list[tuple[str, str]]) -> None:
    parameters = inspect.signature(serve, eval_str=True).parameters.values()
    known = {each.envvar for one in parameters for each in get_args(one.annotation)[1:]}
    assert set(_told(everything)) <= known


def test_the_unit_says_what_the_options_say(everything: list[tuple[str, str]]) -> None:
    assert _told(everything) == {
        "PGANALYTICS_DATA_DIR": "/srv/state",
        "PGANALYTICS_BUCKET_URL": "file:///srv/100%/b",
        "PGANALYTICS_HOST": "::",
        "PGANALYTICS_PORT": "443",
        "PGANALYTICS_AGENT_RATE": "1.5",
        "PGANALYTICS_ADDRESS_RATE": "0.0",
        "PGANALYTICS_MAX_CONNECTIONS": "20",
        "PGANALYTICS_ADDRESS_CONNECTIONS": "10",
        "PGANALYTICS_DRAIN_SECONDS": "7",
    }
    settings = dict(everything)
    assert (settings["LimitNOFILE"], settings["TimeoutStopSec"]) == ("2020", "22")
    assert settings["ReadWritePaths"] == "/srv/state"
    assert settings["CapabilityBoundingSet"] == settings["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"


def test_each_secret_is_a_credential_that_the_server_is_pointed_to(everything: list[tuple[str, str]]) -> None:
    given = dict(value.split(":") for name, value in everything if name == "LoadCredential")
    assert given.pop("pganalytics.store_dsn") == "/srv/settings/store.dsn"
    assert given == {
        "pganalytics.keys": "/srv/settings/keys.json",
        "pganalytics.authority": "/srv/settings/authority.pem",
        "pganalytics.tls_cert": "/srv/tls.pem",
        "pganalytics.tls_key": "/srv/tls.key",
        "pganalytics.client_ca": "/srv/settings/agents-ca.pem",
    }
    pointed = [word.partition("=")[2] for word in _started(everything)[2:]]
    assert pointed == [f"${{CREDENTIALS_DIRECTORY}}/{name}" for name in given]


def test_behind_a_proxy_it_speaks_no_tls_and_needs_no_right_to_its_port(made: dict[str, Path]) -> None:
    unit = _parsed(made["proxy"])
    assert _told(unit)["PGANALYTICS_PLAIN_HTTP"] == "true"
    assert [word.partition("=")[0] for word in _started(unit)[2:]] == ["--keys-file", "--authority-file"]
    assert dict(unit)["CapabilityBoundingSet"] == ""
    assert dict(unit)["StateDirectory"] == "pganalytics-server"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "peer",
            {"host": "/var/run/postgresql", "port": "5432", "dbname": "pganalytics", "user": "pganalytics_server"},
        ),
        (
            "password",
            {"host": "localhost", "port": "1", "dbname": "d'b", "user": "a b", "password": "it's \\ {{ x }}"},
        ),
        ("elsewhere", {"host": "db", "dbname": "store", "user": "u"}),
    ],
)
def test_the_connection_string_means_what_the_options_say(
    made: dict[str, Path], case: str, expected: dict[str, str]
) -> None:
    assert conninfo_to_dict(made[case].read_text().rstrip()) == expected


def _verifier(password: str, verifier: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", (_ROLE / "files/scram.py").read_text()],
        input=json.dumps({"password": password, "verifier": verifier}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_postgresql_keeps_of_a_password_is_computed_as_libpq_does(server: EmbeddedPostgres) -> None:
    password = "it's \\ a password"
    with psycopg.connect(server.dsn()) as connection:
        theirs = connection.pgconn.encrypt_password(password.encode(), b"anyone", b"scram-sha-256").decode()
    assert _verifier(password, theirs) == theirs, "a password that is good stays, with its salt"
    ours = _verifier("another password", theirs)
    assert ours != theirs
    assert _verifier("another password", ours) == ours
    assert _verifier(password, "md5" + "0" * 32).startswith("SCRAM-SHA-256$4096:")


_GOOD: dict[str, Any] = {
    "_pganalytics_server_systemd": {"stat": {"exists": True}},
    "_pganalytics_server_account": {"ansible_facts": {"getent_passwd": {"pganalytics_server": None}}},
    "_pganalytics_server_found_tls": _FILES,
    "_pganalytics_server_asked": {"rc": 0, "stdout": '{"role": false, "owner": null}'},
    "pganalytics_server_version": "0.1.0",
}

#: What is wrong, and the mend that its error names.
_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "in clear": (
        {"_pganalytics_server_found_tls": _NO_FILES},
        "give the certificate and its key with pganalytics_server_tls_cert_source and",
    ),
    "half a pair": ({"pganalytics_server_tls_key_source": "k"}, "is missing; give both, or neither"),
    "no pair": (
        {"_pganalytics_server_pair": {"rc": 1, "stderr_lines": ["the key is another certificate's"]}},
        "in PEM and without a pass phrase: the key is another certificate's.",
    ),
    "certificates without TLS": (
        {"pganalytics_server_plain_http": True, "pganalytics_server_client_certificates": True},
        "leave out one of pganalytics_server_client_certificates and pganalytics_server_plain_http",
    ),
    "two stores": (
        {"pganalytics_server_store_dsn": "host=db", "pganalytics_server_store_password": "p"},
        "write it into pganalytics_server_store_dsn, or leave that out",
    ),
    "a password beyond ASCII": ({"pganalytics_server_store_password": "pässword"}, "choose another"),
    "no PostgreSQL": (
        {"_pganalytics_server_asked": {"rc": 2, "stdout": "", "stderr": "no such socket"}},
        "no such socket. Install or start it",
    ),
    "no psql": ({"_pganalytics_server_asked": {"rc": 2, "stdout": "", "stderr": "", "msg": "no psql"}}, "no psql."),
    "a role that is no peer": (
        {"pganalytics_server_store_role": "other"},
        "leave out pganalytics_server_store_role, or give the role's password",
    ),
    "a database of others": (
        {"_pganalytics_server_asked": {"rc": 0, "stdout": '{"role": true, "owner": "other"}'}},
        "belongs to other; choose another name with pganalytics_server_store_database",
    ),
    "an admin without a password": ({"pganalytics_server_admin": "ann"}, "is missing; give both, or neither"),
    "a short password": (
        {"pganalytics_server_admin": "ann", "pganalytics_server_admin_password": "short"},
        "pganalytics_server_admin_password has to have 12 to 256 characters",
    ),
}

_TAKEN: dict[str, dict[str, Any]] = {
    "as it is": {},
    "files carried along": {
        "_pganalytics_server_found_tls": _NO_FILES,
        "pganalytics_server_tls_cert_source": "c",
        "pganalytics_server_tls_key_source": "k",
    },
    "behind a proxy": {"_pganalytics_server_found_tls": _NO_FILES, "pganalytics_server_plain_http": True},
    "on this host alone": {"_pganalytics_server_found_tls": _NO_FILES, "pganalytics_server_host": "127.0.0.1"},
    "a store elsewhere": {"pganalytics_server_store_dsn": "host=db", "_pganalytics_server_asked": {"skipped": True}},
    "another role, with a password": {
        "pganalytics_server_store_role": "other",
        "pganalytics_server_store_password": "p",
    },
    "an admin": {"pganalytics_server_admin": "ann", "pganalytics_server_admin_password": "long enough, this"},
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the preflight says of each case; each is a host, so that all are asked at once."""
    folder = tmp_path_factory.mktemp("preflight")
    cases = {name: options for name, (options, _) in _REFUSED.items()} | _TAKEN
    tasks = yaml.safe_load((_ROLE / "tasks/preflight.yml").read_text())
    asserts = [task for task in tasks if "ansible.builtin.assert" in task]
    files = [str(_ROLE / "defaults/main.yml"), str(_ROLE / "vars/main.yml")]
    given = {}
    for name, options in cases.items():
        given[name] = folder / f"{name}.json"
        given[name].write_text(json.dumps(_GOOD | options))
    # The last of the files wins, as a host's variables do over defaults.
    plays = {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [*files, f"{folder}/{{{{ inventory_hostname }}}}.json"],
        "tasks": asserts,
    }
    inventory, playbook = folder / "inventory.yml", folder / "preflight.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(cases)}}))
    playbook.write_text(yaml.safe_dump([plays]))
    done = play(playbook, "--inventory", inventory, "--forks", "20", home=folder / "home")
    return dict.fromkeys(cases, "") | done.said()


@pytest.mark.parametrize("case", _REFUSED)
def test_what_cannot_work_is_refused_with_its_mend(refusals: dict[str, str], case: str) -> None:
    assert _REFUSED[case][1] in " ".join(refusals[case].split())


@pytest.mark.parametrize("case", _TAKEN)
def test_what_can_work_is_not_refused(refusals: dict[str, str], case: str) -> None:
    assert refusals[case] == ""


def test_the_examples_options_are_the_roles(tmp_path: Path) -> None:
    done = ansible("ansible-inventory", "--list", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    inventory = json.loads(done.stdout)
    (name,) = inventory["pganalytics_server"]["hosts"]
    options = inventory["_meta"]["hostvars"][name]
    assert set(options) < set(specified(_ROLE)["main"])
    assert "lookup" in options["pganalytics_server_admin_password"]
