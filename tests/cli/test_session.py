"""The session's file is for its account only, whole at any time, and shared by commands that run at once."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.api import ApiSettingsError
from cli.session import Session, SessionFile

SESSION = Session(
    server="https://pg.example.org",
    ca=Path("/etc/ca.pem"),
    refresh=SecretStr("pgr_refresh"),
    access=SecretStr("access"),
    expires=time.time() + 900,
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionFile:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return SessionFile.of_this_account()


def test_it_stands_where_programs_keep_their_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for told in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", told)
        assert SessionFile.of_this_account().path == tmp_path / ".local/state/pganalytics/session.json"
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert SessionFile.of_this_account().path == Path("/var/state/pganalytics/session.json")


def test_what_was_written_is_read_and_is_nobody_elses(file: SessionFile) -> None:
    assert file.read() is None
    file.write(SESSION)
    assert file.read() == SESSION
    assert json.loads(file.path.read_text()).keys() == {"server", "ca", "refresh", "access", "expires"}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    file.write(SESSION.model_copy(update={"ca": None}))
    assert [each.name for each in file.path.parent.iterdir()] == ["session.json"]


def test_a_session_that_others_can_read_is_used_no_more(file: SessionFile) -> None:
    file.write(SESSION)
    file.path.chmod(0o640)
    with pytest.raises(ApiSettingsError, match="others can read it"):
        file.read()


@pytest.mark.parametrize("text", ["", "{}", '{"server": "pgr_refresh"}', "[", "\0"])
def test_what_is_no_session_says_so_and_shows_nothing(file: SessionFile, text: str) -> None:
    file.write(SESSION)
    file.path.write_text(text)
    with pytest.raises(ApiSettingsError, match="remove it and log in again") as refused:
        file.read()
    assert "pgr_" not in str(refused.value)


def test_no_secret_is_shown(file: SessionFile) -> None:
    assert "pgr_refresh" not in f"{SESSION!r} {SESSION}"


def test_a_write_that_fails_leaves_the_session_before(file: SessionFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(SESSION)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ApiSettingsError, match="No space left"):
        file.write(SESSION.model_copy(update={"expires": 0.0}))
    assert file.read() == SESSION
    assert [each.name for each in file.path.parent.iterdir()] == ["session.json"]
