"""Every command says what it is for, and ends with one line that names what to mend."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from cli.main import app
from cli.tokens import RoleName
from contracts.claims import AgentClaims, OperatorClaims, Role
from contracts.version import __version__
from functions.authorizer.keys import load
from functions.authorizer.tokens import verify
from functions.maintenance.tasks import TASKS
from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import new_store


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_STATE_HOME", "/nonexistent")
    for name in ("PGANALYTICS_STORE_DSN", "PGANALYTICS_TOKEN", "PGANALYTICS_KEYS_FILE", "PGANALYTICS_SERVER"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    assert run("keys", "create", "--keys-file", file).exit_code == 0
    return file


def commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, (*path, name))


@pytest.mark.parametrize("path", list(commands(get_command(app))), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_no_option_takes_a_secret() -> None:
    """What stands on a command line, every account of the machine can read."""
    group = get_command(app)
    for path in commands(group):
        command: object = group
        for name in path:
            command = getattr(command, "commands")[name]  # noqa: B009
        for parameter in getattr(command, "params", ()):
            for option in parameter.opts:
                assert option not in {"--token", "--password", "--store-dsn", "--dsn", "--secret", "--key"}, path


def test_every_role_can_be_given() -> None:
    assert get_args(RoleName) == tuple(role.name.lower() for role in Role)


def test_version() -> None:
    assert run("version").stdout == f"pganalytics {__version__}\n"


def test_an_unknown_command_is_a_matter_of_usage() -> None:
    assert run("frobnicate").exit_code == 2


def test_keys_are_for_their_owner_only_and_never_overwritten(keys_file: Path) -> None:
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
    before = keys_file.read_bytes()
    again = run("keys", "create", "--keys-file", keys_file)
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert keys_file.read_bytes() == before
    assert len(load(keys_file).all) == 1


def test_keys_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = run("keys", "create", "--keys-file", tmp_path / "none" / "keys.json")
    assert (result.exit_code, "No such file or directory" in result.stderr) == (2, True)


def test_an_agents_token_is_all_that_is_printed(keys_file: Path) -> None:
    result = run("token", "issue", "--agent", "db-1", PGANALYTICS_KEYS_FILE=str(keys_file))
    assert (result.exit_code, result.stderr) == (0, "")
    now = time.time()
    claims = verify(result.stdout.removesuffix("\n"), load(keys_file), now)
    assert isinstance(claims, AgentClaims)
    assert claims.sub == "db-1"
    assert 14 * 60 < claims.exp - now <= 15 * 60


@pytest.mark.parametrize(("ttl", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("90d", 7_776_000)])
def test_an_operators_token_has_its_role_and_its_time(keys_file: Path, ttl: str, seconds: int) -> None:
    result = run("token", "issue", "--keys-file", keys_file, "--operator", "alice", "--role", "viewer", "--ttl", ttl)
    claims = verify(result.stdout.strip(), load(keys_file), time.time())
    assert isinstance(claims, OperatorClaims)
    assert (claims.sub, claims.scope, claims.exp - claims.nbf) == ("alice", "viewer", seconds)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), "either --agent or --operator"),
        (("--agent", "a", "--operator", "b", "--role", "viewer"), "either --agent or --operator"),
        (("--operator", "alice"), "--role"),
        (("--agent", "a", "--role", "viewer"), "--role"),
        (("--operator", "alice", "--role", "god"), "god"),
        (("--agent", "DB 1"), "--agent: a name is"),
        (("--operator", "Alice!", "--role", "viewer"), "--operator: a name is"),
        (("--agent", "a", "--ttl", "91d"), "--ttl 91d"),
        (("--agent", "a", "--ttl", "0m"), "--ttl 0m"),
        (("--agent", "a", "--ttl", "soon"), "--ttl soon"),
    ],
)
def test_a_token_that_cannot_be_made(keys_file: Path, arguments: tuple[str, ...], names: str) -> None:
    result = run("token", "issue", "--keys-file", keys_file, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert names in result.stderr


def test_a_token_without_keys(tmp_path: Path) -> None:
    result = run("token", "issue", "--agent", "a", "--keys-file", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--keys-file {tmp_path / 'none'}: No such file" in result.stderr


def test_migrate_says_what_it_did_and_does_it_once(server: EmbeddedPostgres, tmp_path: Path) -> None:
    dsn = new_store(server, migrated=False)
    file = tmp_path / "dsn"
    file.write_text(f"{dsn}\n")
    first = json.loads(run("migrate", "--json", "--store-dsn-file", file).stdout)
    assert first["before"] is None
    again = run("migrate", PGANALYTICS_STORE_DSN=dsn)
    assert again.stdout == f"the store is at {first['after']} already\n"


def test_migrate_prints_its_statements_without_a_store() -> None:
    result = run("migrate", "--sql")
    assert result.exit_code == 0
    assert "create schema store;" in result.stdout.lower()


def test_migrate_without_a_store() -> None:
    missing = run("migrate")
    assert (missing.exit_code, "PGANALYTICS_STORE_DSN" in missing.stderr) == (2, True)
    away = run("migrate", PGANALYTICS_STORE_DSN="host=127.0.0.1 port=1 password=the-password")
    assert (away.exit_code, "refused" in away.stderr) == (1, True)
    assert len(away.stderr.splitlines()) == 1
    assert "the-password" not in away.stderr
    nonsense = run("migrate", PGANALYTICS_STORE_DSN="the-password")
    assert (nonsense.exit_code, "the-password" in nonsense.stderr) == (2, False)


@pytest.mark.parametrize("task", TASKS)
def test_maintenance_by_hand_says_what_it_did(server: EmbeddedPostgres, tmp_path: Path, task: str) -> None:
    file = tmp_path / "dsn"
    file.write_text(f"{new_store(server)}\n")
    done = json.loads(run("maintain", task, "--json", "--store-dsn-file", file).stdout)
    assert done["task"] == task
    again = run("maintain", task, "--store-dsn-file", file)
    assert again.exit_code == 0
    assert again.stdout.startswith(f"{task}: ")


def test_the_help_names_every_task() -> None:
    assert f"{', '.join(list(TASKS)[:-1])} or {list(TASKS)[-1]}." in run("maintain", "--help").output


def test_maintenance_that_cannot_be_done(server: EmbeddedPostgres) -> None:
    unknown = run("maintain", "vacuum", PGANALYTICS_STORE_DSN=new_store(server))
    assert unknown.exit_code == 2
    assert "there is 'partitions', 'rollup', 'expire'" in unknown.stderr
    wrong = run("maintain", "expire", PGANALYTICS_STORE_DSN="host=127.0.0.1", PGANALYTICS_KEEP_DAYS_BY_METRIC="wall=9")
    assert (wrong.exit_code, "did you mean 'wal'" in wrong.stderr) == (2, True)
    away = run("maintain", "expire", PGANALYTICS_STORE_DSN="host=127.0.0.1 port=1 password=the-password")
    assert (away.exit_code, "not available" in away.stderr) == (1, True)
    assert "the-password" not in away.stderr
