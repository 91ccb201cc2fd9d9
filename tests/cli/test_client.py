"""Listing what a real server knows; refusals and failures in one line."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import Serving, batch, command, loaded, new_store, serving, until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def running(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    store = new_store(server)
    with serving(tmp_path_factory.mktemp("server"), store) as process:
        for agent in ("db-1", "db-2"):
            assert process.post(batch(agent_id=agent), process.token("--agent", agent)).status == 202
        until(lambda: loaded(store) == 2)
        yield process


@pytest.fixture
def token_file(running: Serving, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(running.token("--operator", "alice", "--role", "viewer") + "\n")
    return file


def test_agents_as_a_table_and_as_json(running: Serving, token_file: Path) -> None:
    table = command("agents", "--server", running.url, "--token-file", token_file)
    assert (table.returncode, table.stderr) == (0, "")
    assert "db-1" in table.stdout
    assert "db-2" in table.stdout
    listed = command(
        "agents", "--json", PGANALYTICS_SERVER=running.url, PGANALYTICS_TOKEN=token_file.read_text().strip()
    )
    assert [agent["agent_id"] for agent in json.loads(listed.stdout)] == ["db-1", "db-2"]


def test_targets_as_a_table_and_as_json(running: Serving, token_file: Path) -> None:
    arguments = ("targets", "--server", running.url, "--token-file", token_file)
    table = command(*arguments)
    assert (table.returncode, table.stdout.count("host")) == (0, 3)
    listed = json.loads(command(*arguments, "--json").stdout)
    assert {(target["agent_id"], target["name"]) for target in listed} == {("db-1", "host"), ("db-2", "host")}


def test_an_agents_token_lists_nothing(running: Serving) -> None:
    done = command("agents", "--server", running.url, PGANALYTICS_TOKEN=running.token())
    assert (done.returncode, done.stdout) == (1, "")
    assert "answered 403 the token is not good for this route" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "names"),
    [
        (("--server", "http://127.0.0.1:1"), {}, "PGANALYTICS_TOKEN"),
        (("--server", "http://127.0.0.1:1", "--token-file", "/nonexistent"), {}, "--token-file /nonexistent"),
        (("--server", "pg.example.org"), {"PGANALYTICS_TOKEN": "t"}, "a URL is expected"),
        (("--server", "http://pg.example.org"), {"PGANALYTICS_TOKEN": "t"}, "use https"),
        (("--server", "https://127.0.0.1:1", "--ca", "/nonexistent"), {"PGANALYTICS_TOKEN": "t"}, "--ca /nonexistent"),
        (("--server", "http://127.0.0.1:1"), {"PGANALYTICS_TOKEN": "a\nb"}, "the token is not one"),
        ((), {}, "--server"),
    ],
)
def test_a_wrong_call_names_what_to_mend(arguments: tuple[str, ...], environment: dict[str, str], names: str) -> None:
    done = command("agents", *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert names in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    done = command("targets", "--server", f"http://127.0.0.1:{port}", PGANALYTICS_TOKEN="t")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "cannot be reached" in done.stderr
    assert "refused" in done.stderr
    assert "object at 0x" not in done.stderr


def test_a_certificate_that_nobody_vouches_for_is_refused(running: Serving, token_file: Path) -> None:
    # Plain HTTP where TLS is spoken: the handshake cannot succeed.
    done = command("agents", "--server", running.url.replace("http:", "https:"), "--token-file", token_file)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "cannot be reached" in done.stderr


def test_coverage_as_a_table_and_as_json(running: Serving, token_file: Path) -> None:
    arguments = ("agents", "coverage", "db-1", "--server", running.url, "--token-file", token_file)
    table = command(*arguments)
    assert (table.returncode, table.stderr) == (0, "")
    assert "host: 0.00% covered" in table.stdout
    assert "before_first" in table.stdout
    assert "after_last" in table.stdout
    asked = json.loads(
        command(*arguments, "--json", "--from", "2026-03-29", "--to", "2026-03-29T03:30:00+02:00").stdout
    )
    assert (asked["from_at"], asked["to_at"]) == ("2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z")
    assert [target["name"] for target in asked["targets"]] == ["host"]


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (("db-1", "--from", "2026-03-29T02:30:00"), 2, "--from 2026-03-29T02:30:00: an instant with its zone"),
        (("db-1", "--to", "soon"), 2, "--to soon: an instant with its zone"),
        (("db-1", "--from", "2026-01-01", "--to", "2026-03-01"), 1, "more than 31 days apart"),
        (("db-9",), 1, "there is no agent db-9"),
        (("../targets",), 1, "answered 4"),
    ],
)
def test_coverage_that_cannot_be_told(
    running: Serving, token_file: Path, arguments: tuple[str, ...], code: int, names: str
) -> None:
    done = command("agents", "coverage", *arguments, "--server", running.url, "--token-file", token_file)
    assert (done.returncode, done.stdout) == (code, "")
    assert names in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_options_before_the_command_are_not_lost_in_silence() -> None:
    done = command("agents", "--server", "http://127.0.0.1:1", "coverage", "db-1", PGANALYTICS_TOKEN="t")
    assert done.returncode == 2
    assert "options come after the command" in done.stderr
