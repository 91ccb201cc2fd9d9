"""Letting agents in and out by command, against the real functions behind real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from cli.main import app
from functions.authorizer import door, handler, parts
from functions.authorizer.keys import Keys, load
from functions.authorizer.tokens import issue, verify
from infra.standalone.app import Functions, Gateway
from infra.standalone.embedded import EmbeddedPostgres
from infra.standalone.pools import Pools
from infra.standalone.settings import listen
from tests.functions.events import operator_claims
from tests.functions.identities import Agent, make_files
from tests.infra.standalone.serving import connected, new_store, until

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def dsn(server: EmbeddedPostgres) -> str:
    return new_store(server)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def url(dsn: str, folder: Path) -> Iterator[str]:
    """The identity part of a server."""
    keys, authority = make_files(folder)
    listening = listen("127.0.0.1", 0)
    told = {"STORE_DSN": dsn, "KEYS_FILE": str(keys), "AUTHORITY_FILE": str(authority)}
    with pytest.MonkeyPatch.context() as patch, closing(Pools()) as pools:
        for name, value in told.items():
            patch.setenv(f"PGANALYTICS_{name}", value)
        gateway = Gateway(Functions(handler.handler, {"identity": _identity}, lambda _: None), pools)
        http = uvicorn.Server(uvicorn.Config(gateway, log_config=None, lifespan="off"))
        serving = threading.Thread(target=http.run, args=([listening],))
        serving.start()
        until(lambda: http.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        http.should_exit = True
        serving.join()
        parts.store().close()
        for cached in (handler._environment, parts.environment, parts.store):
            _clear(cached)


def _identity(event: dict[str, Any], context: object) -> dict[str, Any]:
    try:
        return door.handler(event, context)
    finally:
        parts.store().close()  # that of this thread


def _clear(cached: Any) -> None:
    cached.cache_clear()


@pytest.fixture
def run(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("PGANALYTICS_SERVER", url)
    token = issue(operator_claims("admin"), load(folder / "keys.json"))
    monkeypatch.setenv("PGANALYTICS_TOKEN", token)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def _made(run: Run, *options: str) -> dict[str, Any]:
    result = run("enrolment", "create", "--json", *options)
    assert result.exit_code == 0, result.stderr
    made: dict[str, Any] = json.loads(result.stdout)
    return made


def test_a_token_is_all_that_is_printed_and_it_enrols(run: Run, dsn: str) -> None:
    result = run("enrolment", "create")
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    token = result.stdout.strip()
    assert token.startswith("pge_")
    assert Agent("printed").ask_to_enrol(token)["statusCode"] == 201


def test_a_token_is_what_was_asked_for(run: Run) -> None:
    labels = ("--label", "environment=production", "--label", "rack=b")
    made = _made(run, "--uses", "50", "--expires", "7d", *labels, "--agent", "db-9", "--comment", "for rack b")
    assert (made["uses"], made["agent_id"], made["comment"]) == (50, "db-9", "for rack b")
    assert made["labels"] == {"environment": "production", "rack": "b"}
    life = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < life <= timedelta(days=7)


def test_a_token_may_end_at_an_instant(run: Run) -> None:
    until_then = (datetime.now(UTC) + timedelta(hours=36)).replace(microsecond=0)
    made = _made(run, "--expires", until_then.isoformat())
    assert abs(datetime.fromisoformat(made["expires_at"]) - until_then) < timedelta(seconds=30)


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        (("--expires", "soon"), 2, "--expires soon: an instant with its zone"),
        (("--expires", "2020-01-01"), 2, "--expires 2020-01-01: a minute to 365 days from now"),
        (("--expires", "30s"), 2, "--expires 30s: a minute to 365 days"),
        (("--expires", "366d"), 2, "--expires 366d: a minute to 365 days"),
        (("--uses", "0"), 2, "--uses"),
        (("--label", "environment"), 2, "--label environment: NAME=VALUE"),
        (("--label", "a=b", "--label", "a=c"), 2, "--label a=c: NAME=VALUE is expected, each name once"),
        (("--label", "A=b"), 2, "--label A=b: names are lower case"),
        (("--agent", "Not One"), 1, "answered 422"),
    ],
)
def test_a_token_that_cannot_be_made(run: Run, options: tuple[str, ...], code: int, names: str) -> None:
    result = run("enrolment", "create", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert names in result.stderr


def test_tokens_are_listed_without_themselves(run: Run) -> None:
    made = _made(run, "--comment", "to be listed", "--label", "rack=c")
    table = run("enrolment", "list")
    assert (table.exit_code, made["token"] in table.stdout) == (0, False)
    assert all(part in table.stdout for part in (made["id"], "to be listed", "rack=c"))
    listed = json.loads(run("enrolment", "list", "--json").stdout)
    assert listed[0]["id"] == made["id"]
    assert "token" not in listed[0]


def test_a_narrow_terminal_shows_ids_whole_and_leaves_nothing_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _made(run, "--comment", "a long comment", "--label", "environment=production", "--agent", "db-117")
    monkeypatch.setenv("COLUMNS", "80")
    table = run("enrolment", "list").stdout
    assert made["id"] in table
    assert "…" not in table


def test_a_token_that_was_revoked_enrols_nobody(run: Run) -> None:
    made = _made(run)
    done = run("enrolment", "revoke", made["id"])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"revoked {made['id']}\n")
    assert Agent("late").ask_to_enrol(made["token"])["statusCode"] == 401
    unknown = run("enrolment", "revoke", "0123456789abcdef")
    assert (unknown.exit_code, "there is no enrolment token" in unknown.stderr) == (1, True)


def test_an_agent_that_was_revoked_gets_no_token(run: Run, dsn: str) -> None:
    agent = Agent("stolen")
    agent.enrol(_made(run)["token"])
    assert agent.token()
    done = run("agents", "revoke", "stolen", "--reason", "the host was stolen")
    assert (done.exit_code, done.stderr) == (0, "revoked stolen\n")
    assert agent.ask_for_token()["statusCode"] == 401
    with connected(dsn) as connection:
        row = connection.execute("select revoked_reason from identity.agent where agent_id = 'stolen'").fetchone()
    assert row == ("the host was stolen",)
    again = Agent("stolen")
    again.enrol(_made(run, "--agent", "stolen")["token"])
    assert again.token()


def test_an_agent_that_is_not_enrolled_cannot_be_revoked(run: Run) -> None:
    result = run("agents", "revoke", "nobody")
    assert (result.exit_code, "no agent nobody is enrolled" in result.stderr) == (1, True)


def test_who_may_not_is_told_in_one_line(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = issue(operator_claims("viewer"), load(folder / "keys.json"))
    monkeypatch.setenv("PGANALYTICS_TOKEN", viewer)
    for arguments in (("enrolment", "create"), ("enrolment", "list"), ("agents", "revoke", "printed")):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
        assert "answered 403" in result.stderr
        assert viewer not in result.stderr


def test_keys_that_were_rotated_are_used_without_a_restart(run: Run, folder: Path) -> None:
    keys = folder / "keys.json"
    assert run("keys", "rotate", "--keys-file", keys).exit_code == 0  # of one key, without a time: at once
    agent = Agent("rotated")
    agent.enrol(_made(run)["token"])  # by a token of the key before
    assert verify(agent.token(), Keys((load(keys).signing,)), time.time()).sub == "rotated"
