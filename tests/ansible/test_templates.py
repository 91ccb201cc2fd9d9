"""What the role writes is what the agent and systemd read."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from agent.settings import (
    HostSettings,
    LogSettings,
    ServerSettings,
    Settings,
    SpoolSettings,
    TargetSettings,
    UploadSettings,
    load,
)
from tests.ansible.controller import ansible, rendered

#: Every option that comes to stand in agent.toml, none with its default.
_EVERYTHING: dict[str, Any] = {
    "pganalytics_agent_id": "db-117",
    "pganalytics_agent_state_directory": "/srv/agent",
    "pganalytics_agent_server_url": "https://pganalytics.example.org/base",
    "pganalytics_agent_token_file": "/srv/token",
    "pganalytics_agent_ca_file": "/srv/ca.pem",
    "pganalytics_agent_transport": "s3",
    "pganalytics_agent_bucket": "batches",
    "pganalytics_agent_bucket_region": "eu-central-1",
    "pganalytics_agent_bucket_endpoint_url": "https://s3.example.org",
    "pganalytics_agent_bucket_ca_file": "/srv/s3.pem",
    "pganalytics_agent_spool_max_bytes": 2_000_000,
    "pganalytics_agent_spool_max_age_hours": 1.5,
    "pganalytics_agent_host_enabled": False,
    "pganalytics_agent_targets": [
        {"name": "main", "dsn": "host=/run user='a \\\"b\\\" \\\\ ü 𝄞'", "log": {"files": ["/var/log/a-*.log", "/b"]}},
        {"name": "plain"},
    ],
}


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of agent.toml, such as `targets[].name`."""
    for name, field in model.model_fields.items():
        listed = get_origin(field.annotation) is tuple
        kinds = get_args(field.annotation) if listed or _is_union(field.annotation) else (field.annotation,)
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from _keys(inner[0], f"{prefix}{name}{'[]' if listed else ''}.")
        else:
            yield f"{prefix}{name}"


def _is_union(kind: object) -> bool:
    return get_origin(kind) in {Union, UnionType}


def _written(document: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _written(value, f"{prefix}{name}.")
        elif isinstance(value, list) and isinstance(value[0], dict):
            for each in value:
                yield from _written(each, f"{prefix}{name}[].")
        else:
            yield f"{prefix}{name}"


_TOML, _UNIT = "agent.toml.j2", "pganalytics-agent.service.j2"
_SERVER = {"pganalytics_agent_server_url": "https://pganalytics.example.org"}
_ENROLLED = {"_pganalytics_agent_before": {"file /var/lib/pganalytics-agent/identity/identity.json": "root root 0600"}}

#: What is rendered, by the name of a host.
_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "everything": (_TOML, _EVERYTHING),
    "defaults": (_TOML, _SERVER),
    "to-be-enrolled": (_TOML, {**_SERVER, "pganalytics_agent_enrolment_token": "pge_"}),
    "enrolled": (_TOML, {**_SERVER, **_ENROLLED}),
    "with-a-file": (_TOML, _SERVER),
    "back-to-a-token": (_TOML, {**_SERVER, **_ENROLLED, "pganalytics_agent_token": "a-token"}),
    "bucket": (_TOML, {"pganalytics_agent_transport": "s3", "pganalytics_agent_bucket": "batches"}),
    "unit": (_UNIT, {"pganalytics_agent_watchdog_seconds": 7}),
    "state-of-its-own": (_UNIT, {"pganalytics_agent_state_directory": "/var/lib/pganalytics/one"}),
    "state-elsewhere": (_UNIT, {"pganalytics_agent_state_directory": "/srv/agent"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them, of one run of Ansible."""
    return rendered(tmp_path_factory.mktemp("made"), _CASES)


@pytest.fixture
def everything(made: dict[str, Path]) -> Path:
    return made["everything"]


def test_every_key_of_the_agents_settings_has_an_option(everything: Path) -> None:
    assert set(_written(tomllib.loads(everything.read_text()))) == set(_keys(Settings))


def test_the_agent_reads_what_the_options_say(everything: Path) -> None:
    assert load(everything) == Settings(
        agent_id="db-117",
        state_directory=Path("/srv/agent"),
        server=ServerSettings(
            url="https://pganalytics.example.org/base", token_file=Path("/srv/token"), ca_file=Path("/srv/ca.pem")
        ),
        upload=UploadSettings(
            transport="s3",
            bucket="batches",
            region="eu-central-1",
            endpoint_url="https://s3.example.org",
            ca_file=Path("/srv/s3.pem"),
        ),
        spool=SpoolSettings(max_bytes=2_000_000, max_age_hours=1.5),
        host=HostSettings(enabled=False),
        targets=(
            TargetSettings(
                name="main",
                dsn="host=/run user='a \\\"b\\\" \\\\ ü 𝄞'",
                log=LogSettings(files=("/var/log/a-*.log", "/b")),
            ),
            TargetSettings(name="plain"),
        ),
    )


def test_without_options_the_agent_has_its_own_defaults(made: dict[str, Path]) -> None:
    server = ServerSettings(url="https://pganalytics.example.org", token_file=Path("/etc/pganalytics/token"))
    assert load(made["defaults"]) == Settings(agent_id="defaults", server=server)


@pytest.mark.parametrize(
    ("case", "named"),
    [("to-be-enrolled", False), ("enrolled", False), ("with-a-file", True), ("back-to-a-token", True)],
)
def test_an_enrolled_agent_gets_its_tokens_itself(made: dict[str, Path], case: str, *, named: bool) -> None:
    server = load(made[case]).server
    assert server is not None
    assert server.token_file == (Path("/etc/pganalytics/token") if named else None)


def test_an_agent_that_puts_into_the_bucket_itself_needs_no_server(made: dict[str, Path]) -> None:
    upload = UploadSettings(transport="s3", bucket="batches")
    assert load(made["bucket"]) == Settings(agent_id="bucket", upload=upload)


def test_the_example_makes_settings_that_the_agent_reads(tmp_path: Path) -> None:
    done = ansible("ansible-inventory", "--list", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    inventory = json.loads(done.stdout)
    hosts = inventory["pganalytics_agents"]["hosts"]
    cases = {}
    for name in hosts:
        options = inventory["_meta"]["hostvars"][name]
        assert "lookup" in options["pganalytics_agent_enrolment_token"]
        options["pganalytics_agent_enrolment_token"] = "what stands in the file"
        cases[name] = (_TOML, options)
    for name, file in rendered(tmp_path, cases).items():
        assert load(file).agent_id == cases[name][1]["pganalytics_agent_id"]
    assert len(hosts) == 2


@pytest.mark.parametrize(
    ("case", "line"),
    [("state-of-its-own", "StateDirectory=pganalytics/one"), ("state-elsewhere", "ReadWritePaths=/srv/agent")],
)
def test_the_state_can_be_written_wherever_it_is(made: dict[str, Path], case: str, line: str) -> None:
    assert line in made[case].read_text().splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze to rate the unit")
def test_the_unit_is_rated_1_5_or_better(made: dict[str, Path]) -> None:
    # In tenths; 250 is the first systemd that rates a file.
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", str(made["unit"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option '--offline" in done.stderr:
        pytest.skip("this systemd-analyze rates no files")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_is_watched_and_yields_to_the_database(made: dict[str, Path]) -> None:
    expected = {"Type=notify", "WatchdogSec=7", "Restart=on-failure", "OOMScoreAdjust=500", "MemoryMax=256M"}
    assert expected <= set(made["unit"].read_text().splitlines())
