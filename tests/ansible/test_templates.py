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


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("everything"), "agent.toml.j2", _EVERYTHING)


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


def test_without_options_the_agent_has_its_own_defaults(tmp_path: Path) -> None:
    made = rendered(tmp_path, "agent.toml.j2", {"pganalytics_agent_server_url": "https://pganalytics.example.org"})
    server = ServerSettings(url="https://pganalytics.example.org", token_file=Path("/etc/pganalytics/token"))
    assert load(made) == Settings(agent_id="localhost", server=server)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pganalytics_agent_enrolment_token": "pge_"}, False),
        ({"_pganalytics_agent_found_identity": {"stat": {"exists": True}}}, False),
        ({"_pganalytics_agent_found_identity": {"stat": {"exists": False}}}, True),
        (
            {"_pganalytics_agent_found_identity": {"stat": {"exists": True}}, "pganalytics_agent_token": "a-token"},
            True,
        ),
    ],
    ids=["to be enrolled", "enrolled", "with a token's file", "back to a token"],
)
def test_an_enrolled_agent_gets_its_tokens_itself(tmp_path: Path, options: dict[str, Any], *, named: bool) -> None:
    given = {"pganalytics_agent_server_url": "https://pganalytics.example.org", **options}
    server = load(rendered(tmp_path, "agent.toml.j2", given)).server
    assert server is not None
    assert server.token_file == (Path("/etc/pganalytics/token") if named else None)


def test_an_agent_that_puts_into_the_bucket_itself_needs_no_server(tmp_path: Path) -> None:
    options = {"pganalytics_agent_transport": "s3", "pganalytics_agent_bucket": "batches"}
    made = load(rendered(tmp_path, "agent.toml.j2", options))
    assert made == Settings(agent_id="localhost", upload=UploadSettings(transport="s3", bucket="batches"))


def test_the_example_makes_settings_that_the_agent_reads(tmp_path: Path) -> None:
    done = ansible("ansible-inventory", "--list", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    hosts = json.loads(done.stdout)["_meta"]["hostvars"]
    for name, options in hosts.items():
        folder = tmp_path / name
        folder.mkdir()
        assert "lookup" in options["pganalytics_agent_enrolment_token"]
        options["pganalytics_agent_enrolment_token"] = "what stands in the file"
        assert load(rendered(folder, "agent.toml.j2", options)).agent_id == options["pganalytics_agent_id"]
    assert len(hosts) == 2


@pytest.mark.parametrize(
    ("folder", "line"),
    [("/var/lib/pganalytics/one", "StateDirectory=pganalytics/one"), ("/srv/agent", "ReadWritePaths=/srv/agent")],
)
def test_the_state_can_be_written_wherever_it_is(tmp_path: Path, folder: str, line: str) -> None:
    made = rendered(tmp_path, "pganalytics-agent.service.j2", {"pganalytics_agent_state_directory": folder})
    assert line in made.read_text().splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze to rate the unit")
def test_the_unit_is_rated_1_5_or_better(tmp_path: Path) -> None:
    made = rendered(tmp_path, "pganalytics-agent.service.j2", {})
    # In tenths; 250 is the first systemd that rates a file.
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option '--offline" in done.stderr:
        pytest.skip("this systemd-analyze rates no files")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_is_watched_and_yields_to_the_database(tmp_path: Path) -> None:
    lines = rendered(tmp_path, "pganalytics-agent.service.j2", {"pganalytics_agent_watchdog_seconds": 7}).read_text()
    expected = {"Type=notify", "WatchdogSec=7", "Restart=on-failure", "OOMScoreAdjust=500", "MemoryMax=256M"}
    assert expected <= set(lines.splitlines())
