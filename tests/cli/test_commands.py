"""Every command says what it is for, and ends with one line that names what to mend."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from cryptography import x509
from typer.main import get_command
from typer.testing import CliRunner, Result

from cli.main import app
from cli.tokens import RoleName
from contracts.claims import AgentClaims, OperatorClaims, Role
from contracts.version import __version__
from functions.authorizer.keys import load
from functions.authorizer.tokens import TokenRefusedError, verify
from functions.maintenance.tasks import TASKS
from infra.database.migrate import newest
from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import new_store
from tests.nursery import ROOT


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


@pytest.mark.parametrize("command", ["agents", "targets", "version"])
def test_who_asks_the_server_waits_for_nothing_that_only_the_server_needs(command: str) -> None:
    """Each of these takes a tenth of a second and more to import."""
    code = (
        "import sys\nfrom cli.main import app\n"
        f"try: app({[command, '--server', 'nowhere']!r})\n"
        "except SystemExit: print(*sys.modules)"
    )
    environment = {**os.environ, "PGANALYTICS_TOKEN": "a-token"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "cli.main" in loaded
    assert not loaded & {"alembic", "boto3", "cryptography", "psycopg", "contracts.configuration", "starlette"}


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
    assert len(load(keys_file).all) == 2


def test_keys_are_rotated_and_tokens_stay_good(keys_file: Path) -> None:
    made = run("token", "issue", "--agent", "db-1", "--keys-file", keys_file).stdout.strip()
    before = load(keys_file)
    soon = run("keys", "rotate", "--keys-file", keys_file)
    assert (soon.exit_code, "was rotated within the last 20 minutes" in soon.stderr) == (2, True)
    assert load(keys_file) == before
    _age(keys_file)
    done = run("keys", "rotate", "--keys-file", keys_file)
    assert (done.exit_code, done.stdout) == (0, "")
    after = load(keys_file)
    assert f"{before.all[1].kid} signs, {after.all[1].kid} is next, 0 dropped" in done.stderr
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
    assert verify(made, after, time.time()).sub == "db-1"


def test_a_key_in_the_wrong_hands_goes_at_once(keys_file: Path) -> None:
    made = run("token", "issue", "--agent", "db-1", "--keys-file", keys_file).stdout.strip()
    done = run("keys", "rotate", "--at-once", "--keys-file", keys_file)
    assert (done.exit_code, "2 dropped" in done.stderr) == (0, True)
    with pytest.raises(TokenRefusedError):
        verify(made, load(keys_file), time.time())
    assert not any(part in done.stderr for part in keys_file.read_text().split('"') if len(part) > 40)


def _age(keys_file: Path) -> None:
    """As if the keys had been made an hour ago."""
    document = json.loads(keys_file.read_text())
    for key in document["keys"]:
        key["iat"] -= 3600
    keys_file.write_text(json.dumps(document))


def test_keys_that_cannot_be_rotated(tmp_path: Path) -> None:
    missing = run("keys", "rotate", "--keys-file", tmp_path / "none")
    assert (missing.exit_code, "none: No such file" in missing.stderr) == (2, True)
    broken = tmp_path / "broken"
    broken.write_text("{}")
    broken.chmod(0o600)
    for more in ((), ("--at-once",)):
        result = run("keys", "rotate", "--keys-file", broken, *more)
        assert (result.exit_code, "keys: Field required" in result.stderr) == (2, True)
    assert broken.read_text() == "{}"


def test_an_authority_is_made_once_and_shown_without_its_key(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    made = run("authority", "create", "--authority-file", file, "--name", "our fleet", "--days", "30")
    assert (made.exit_code, made.stdout, stat.S_IMODE(file.stat().st_mode)) == (0, "", 0o600)
    before = file.read_bytes()
    again = run("authority", "create", "--authority-file", file)
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    assert file.read_bytes() == before
    shown = run("authority", "show", PGANALYTICS_AUTHORITY_FILE=str(file))
    (certificate,) = x509.load_pem_x509_certificates(shown.stdout.encode())
    assert (shown.stderr, "PRIVATE" in shown.stdout) == ("", False)
    assert certificate.subject.rfc4514_string() == "CN=our fleet"
    assert timedelta(days=29) < certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=30)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("create", "--name", "x" * 65), "--name"),
        (("create", "--name", "a\nb"), "--name"),
        (("create", "--days", "0"), "--days"),
        (("show",), "No such file"),
    ],
)
def test_an_authority_that_cannot_be(tmp_path: Path, arguments: tuple[str, ...], names: str) -> None:
    result = run("authority", *arguments, "--authority-file", tmp_path / "authority.pem")
    assert (result.exit_code, result.stdout, names in result.stderr) == (2, "", True)
    assert list(tmp_path.iterdir()) == []


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
    file.chmod(0o600)
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


def test_name_and_password_may_stand_apart_from_where_the_store_is(server: EmbeddedPostgres) -> None:
    """As RDS keeps them in a secret of its own."""
    account, at = json.dumps({"username": "postgres", "password": "the-password"}), new_store(server)
    done = run("migrate", "--json", PGANALYTICS_STORE_DSN=account, PGANALYTICS_STORE_AT=at)
    assert json.loads(done.stdout)["after"] == newest()
    wrong = run("migrate", PGANALYTICS_STORE_DSN="the-password", PGANALYTICS_STORE_AT=at)
    assert (wrong.exit_code, "the-password" in wrong.stderr) == (2, False)
    assert "username and password, as RDS writes it" in wrong.stderr


@pytest.mark.parametrize("task", TASKS)
def test_maintenance_by_hand_says_what_it_did(server: EmbeddedPostgres, tmp_path: Path, task: str) -> None:
    file = tmp_path / "dsn"
    file.write_text(f"{new_store(server)}\n")
    file.chmod(0o600)
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
