"""Operators' commands against a real server: accounts, the session that commands share, the audit log."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import SECONDS, Serving, command, connected, new_store, serving
from tests.nursery import ROOT

pytestmark = pytest.mark.processes

PASSWORD, ANOTHER = "correct horse battery", "another horse, another battery"


@dataclass(frozen=True)
class Desk:
    """Where an operator works: a server, its store, and a folder for the state of their commands."""

    server: Serving
    dsn: str
    folder: Path

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own."""
        return command(*arguments, **{"XDG_STATE_HOME": str(self.folder), **environment})

    def here(self, *arguments: str | Path, **environment: str) -> Result:
        """A command in this process, for a process of its own takes a second."""
        told: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PGANALYTICS_")}
        told |= {"COLUMNS": "200", "XDG_STATE_HOME": str(self.folder), **environment}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=told)

    def done(self, *arguments: str | Path, **environment: str) -> str:
        ended = self.here(*arguments, **environment)
        assert (ended.exit_code, ended.stderr) == (0, ""), ended.output
        return ended.stdout

    def refused(self, *arguments: str | Path, code: int = 1, **environment: str) -> str:
        """What a command says that cannot do its work: one line."""
        ended = self.here(*arguments, **environment)
        assert (ended.exit_code, ended.stdout) == (code, ""), ended.output
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        return ended.stderr

    def password_file(self, password: str = PASSWORD) -> Path:
        file = self.folder / f"password-{abs(hash(password))}"
        file.write_text(password + "\n")
        return file

    def login(self, user: str = "root", password: str = PASSWORD) -> str:
        given = ("--server", self.server.url, "--user", user, "--password-file", self.password_file(password))
        return self.done("login", *given)

    @property
    def session_file(self) -> Path:
        return self.folder / "pganalytics" / "session.json"

    @property
    def session(self) -> Any:
        return json.loads(self.session_file.read_text())

    def change_session(self, **changed: object) -> None:
        self.session_file.write_text(json.dumps({**self.session, **changed}))

    def sessions(self) -> list[tuple[str, str | None]]:
        with connected(self.dsn) as connection:
            return connection.execute("select operator, ended_why from identity.session order by created_at").fetchall()


@pytest.fixture(scope="module")
def running(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, str]]:
    dsn = new_store(server)
    folder = tmp_path_factory.mktemp("server")
    (folder / "password").write_text(PASSWORD)
    made = command(
        "users", "create", "root", "--admin", "--password-file", folder / "password", PGANALYTICS_STORE_DSN=dsn
    )
    assert made.stdout == "made root (admin)\n", made.stderr
    with serving(folder, dsn) as process:
        yield process, dsn


@pytest.fixture
def desk(running: tuple[Serving, str], tmp_path: Path) -> Iterator[Desk]:
    process, dsn = running
    yield Desk(process, dsn, tmp_path)
    with connected(dsn) as connection:
        connection.execute("truncate identity.session, identity.refresh, identity.failure, identity.audit")
        connection.execute("delete from identity.operator where name <> 'root'")


def test_the_first_admin_is_made_by_a_command_and_logs_in(desk: Desk) -> None:
    assert desk.login() == f"logged in to {desk.server.url} as root (admin)\n"
    assert json.loads(desk.done("agents", "--json")) == []
    (root,) = json.loads(desk.done("users", "list", "--json"))
    assert (root["name"], root["role"]) == ("root", "admin")
    assert root["created_by"].startswith("command of ")
    assert desk.done("logout") == f"logged out of {desk.server.url}\n"
    assert "nobody is logged in: pganalytics login" in desk.refused("agents", code=2)
    assert desk.done("logout") == "nobody is logged in\n"
    assert desk.sessions() == [("root", "logout")]


def test_accounts_are_made_changed_and_listed(desk: Desk) -> None:
    desk.login()
    name = "ann@example.org"
    made = desk.done("users", "create", name, "--role", "viewer", "--password-file", desk.password_file(ANOTHER))
    assert made == f"made {name} (viewer)\n"
    assert desk.done("users", "role", name, "operator") == f"{name} is operator now\n"
    desk.done("users", "disable", name)
    table = desk.done("users", "list")
    assert f"{name}  operator" in table
    assert "ago" in table
    desk.done("users", "enable", name)
    desk.done("users", "password", name, "--password-file", desk.password_file())
    assert desk.login(name) == f"logged in to {desk.server.url} as {name} (operator)\n"
    assert "answered 403" in desk.refused("users", "list")


def test_ones_own_password(desk: Desk) -> None:
    desk.login()
    desk.done("users", "create", "ann", "--role", "viewer", "--password-file", desk.password_file())
    desk.login("ann")
    old, new = desk.password_file(), desk.password_file(ANOTHER)
    own = ("users", "password", "--old-password-file", new, "--password-file", new)
    assert "answered 403 old: wrong password" in desk.refused(*own)
    assert "log in again" in desk.done("users", "password", "--old-password-file", old, "--password-file", new)
    desk.change_session(expires=0)
    assert "the session has ended; log in again: pganalytics login --server" in desk.refused("agents")
    assert not desk.session_file.exists()
    assert "(viewer)" in desk.login("ann", ANOTHER)


def test_too_many_failures_are_told_and_not_sat_through(desk: Desk) -> None:
    desk.login()
    wrong = desk.password_file(ANOTHER)
    own = ("users", "password", "--old-password-file", wrong, "--password-file", wrong)
    for _ in range(12):
        told = desk.refused(*own)
        if "429" in told:
            break
    assert "too many logins failed; try again in" in told


def test_the_last_admin_stays(desk: Desk) -> None:
    desk.login()
    assert "answered 409 root is the last admin" in desk.refused("users", "disable", "root")
    assert "answered 409 root is the last admin" in desk.refused("users", "role", "root", "viewer")


def test_a_login_that_is_refused_leaves_the_one_before(desk: Desk) -> None:
    desk.login()
    given = ("--server", desk.server.url, "--user", "root", "--password-file", desk.password_file(ANOTHER))
    assert "answered 401 name and password are not those of an active account" in desk.refused("login", *given)
    assert json.loads(desk.done("agents", "--json")) == []


def test_a_token_is_renewed_ahead_of_its_end(desk: Desk) -> None:
    desk.login()
    before = desk.session
    desk.change_session(expires=time.time() + 30)
    desk.done("agents")
    assert desk.session["access"] != before["access"]
    assert desk.session["refresh"] != before["refresh"]
    assert desk.session["expires"] > time.time() + 800
    after = desk.session
    desk.done("agents")
    assert desk.session == after


def test_a_token_that_the_gateway_refuses_is_renewed_once(desk: Desk) -> None:
    """Keys were rotated, or this machine's clock is wrong."""
    desk.login()
    desk.change_session(access="not.a.token")
    assert json.loads(desk.done("agents", "--json")) == []
    assert desk.session["access"] != "not.a.token"


def test_commands_at_once_refresh_once_and_end_no_session(desk: Desk) -> None:
    desk.login()
    for changed in ({"expires": 0}, {"access": "not.a.token"}):
        desk.change_session(**changed)
        with ThreadPoolExecutor(5) as threads:
            ended = list(threads.map(lambda _: desk.run("agents", "--json"), range(5)))
        assert [(each.returncode, each.stdout) for each in ended] == [(0, "[]\n")] * 5, ended
    assert desk.sessions() == [("root", None)]
    with connected(desk.dsn) as connection:
        assert connection.execute("select count(*) from identity.refresh").fetchone() == (3,)
        assert connection.execute("select count(*) from identity.audit where action = 'refresh'").fetchone() == (0,)


def test_a_copied_session_ends_for_both(desk: Desk, tmp_path: Path) -> None:
    desk.login()
    thief = Desk(desk.server, desk.dsn, tmp_path / "thief")
    thief.session_file.parent.mkdir(parents=True, mode=0o700)
    thief.session_file.touch(mode=0o600)
    thief.session_file.write_text(desk.session_file.read_text())
    thief.change_session(expires=0)
    thief.done("agents")
    desk.change_session(expires=0)
    assert "the session has ended" in desk.refused("agents")
    thief.change_session(expires=0)
    assert "the session has ended" in thief.refused("agents")
    desk.login()
    (entry,) = json.loads(desk.done("audit", "--action", "refresh", "--json"))
    assert (entry["actor"], entry["outcome"], entry["address"]) == ("root", "refused", "127.0.0.1")


def test_a_sessions_tokens_go_to_its_server_only(desk: Desk) -> None:
    desk.login()
    assert "the login is at" in desk.refused("agents", "--server", "https://elsewhere.example.org", code=2)
    assert desk.done("agents", "--server", desk.server.url + "/", "--json") == "[]\n"


def test_a_token_that_is_given_comes_before_the_session(desk: Desk) -> None:
    desk.login()
    viewer = desk.server.token("--operator", "script", "--role", "viewer")
    refusal = desk.refused("users", "list", PGANALYTICS_TOKEN=viewer, PGANALYTICS_SERVER=desk.server.url)
    assert "answered 403" in refusal
    assert "--server" in desk.refused("agents", PGANALYTICS_TOKEN=viewer, code=2)


def test_a_logout_that_the_server_does_not_hear_is_one_here(desk: Desk) -> None:
    desk.login()
    desk.change_session(server="http://127.0.0.1:1")
    assert "logged out here, but the server was not told" in desk.refused("logout")
    assert not desk.session_file.exists()


def test_a_server_that_is_away_ends_no_session(desk: Desk) -> None:
    desk.login()
    where = desk.session["server"]
    desk.change_session(server="http://127.0.0.1:1", expires=0)
    assert "cannot be reached" in desk.refused("agents")
    desk.change_session(server=where)
    desk.done("agents")


def test_the_audit_log_says_who_did_what(desk: Desk) -> None:
    desk.login()
    desk.done("users", "create", "ann", "--role", "viewer", "--password-file", desk.password_file())
    table = desk.done("audit")
    for word in ("login", "user.create", "ann", "role: viewer", "127.0.0.1", "done"):
        assert word in table
    entries = json.loads(desk.done("audit", "--json"))
    assert [entry["action"] for entry in entries] == ["user.create", "login"]
    assert json.loads(desk.done("audit", "--json", "--limit", "1")) == entries[:1]
    assert json.loads(desk.done("audit", "--json", "--until", entries[0]["at"])) == entries[1:]
    assert json.loads(desk.done("audit", "--json", "--since", entries[0]["at"], "--actor", "root")) == entries[:1]
    assert "--since soon" in desk.refused("audit", "--since", "soon", code=2)


def test_an_admin_beside_the_store_needs_the_store_and_another_name(desk: Desk) -> None:
    given = ("users", "create", "root", "--admin", "--password-file", desk.password_file())
    assert "there is a user root already" in desk.refused(*given, code=2, PGANALYTICS_STORE_DSN=desk.dsn)
    assert "PGANALYTICS_STORE_DSN" in desk.refused(*given, code=2)
    away = desk.refused(*given, PGANALYTICS_STORE_DSN="host=127.0.0.1 port=1 password=the-password")
    assert "the-password" not in away
    for arguments, names in (
        (("users", "create", "Ann", "--admin"), "name: "),
        (("users", "create", "ann"), "either --role, or --admin"),
        (("users", "create", "ann", "--admin", "--role", "admin"), "either --role, or --admin"),
    ):
        refusal = desk.refused(
            *arguments, "--password-file", desk.password_file(), code=2, PGANALYTICS_STORE_DSN=desk.dsn
        )
        assert names in refusal
    short = ("users", "create", "ann", "--admin", "--password-file", desk.password_file("the-secret"))
    refusal = desk.refused(*short, code=2, PGANALYTICS_STORE_DSN=desk.dsn)
    assert "password: a password has 12 to 256 characters" in refusal
    assert "the-secret" not in refusal


@pytest.mark.parametrize(
    ("file", "names"),
    [(None, "--password-file: there is no terminal"), ("/nonexistent", "No such file"), ("/dev/null", "is empty")],
)
def test_a_password_that_nobody_gives(desk: Desk, file: str | None, names: str) -> None:
    given = ("--password-file", file) if file else ()
    assert names in desk.refused("login", "--server", desk.server.url, "--user", "root", *given, code=2)


def test_a_password_from_standard_input(desk: Desk) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "cli.main",
            "login",
            "--server",
            desk.server.url,
            "--user",
            "root",
            "--password-file",
            "-",
        ],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(desk.folder)},
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def _at_a_terminal(desk: Desk, *arguments: str, answers: list[str], **environment: str) -> tuple[int, str]:
    """A command that is answered at its prompts; its exit code, and what stood on the terminal."""
    ours, theirs = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(desk.folder), **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=own_terminal,
    )
    os.close(theirs)
    shown = ""
    try:
        while True:
            assert select.select([ours], [], [], SECONDS)[0], f"it asks for more: {shown!r}"
            try:
                part = os.read(ours, 1000)
            except OSError:  # the process has closed its end
                break
            if not part:
                break
            shown += part.decode()
            if answers and shown.endswith(": "):  # the space comes once what was typed before is thrown away
                os.write(ours, answers.pop(0).encode() + b"\n")
        return process.wait(30), shown
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_password_is_asked_for_twice_where_it_is_new_and_never_shown(desk: Desk) -> None:
    create = ("users", "create", "ann", "--admin")
    code, shown = _at_a_terminal(
        desk, *create, answers=[ANOTHER, PASSWORD, ANOTHER, ANOTHER], PGANALYTICS_STORE_DSN=desk.dsn
    )
    assert (code, "made ann (admin)" in shown) == (0, True), shown
    assert shown.count("Password of ann") == 2
    login = ("login", "--server", desk.server.url, "--user", "ann")
    code, again = _at_a_terminal(desk, *login, answers=[ANOTHER])
    assert (code, "logged in to" in again) == (0, True), again
    for secret in (PASSWORD, ANOTHER):
        assert secret not in shown + again
