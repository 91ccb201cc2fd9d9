from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from pydantic import SecretStr

from functions.environment import Environment, EnvironmentVariableError, read, secrets

DSN = "host=store password=sesame"


class Example(Environment):
    store_dsn: SecretStr
    keep_days: int = 30


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield


def _put(name: str, **value: str | bytes) -> str:
    arn: str = boto3.client("secretsmanager").create_secret(Name=name, **value)["ARN"]
    return arn


def test_a_secret_setting_may_stand_in_secrets_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_SECRET", _put("store", SecretString=DSN))
    settings = read(Example)
    assert settings.store_dsn.get_secret_value() == DSN
    assert "sesame" not in repr(settings)


def test_its_value_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", DSN)
    assert read(Example).store_dsn.get_secret_value() == DSN


def test_only_what_is_secret_is_looked_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", DSN)
    monkeypatch.setenv("PGANALYTICS_KEEP_DAYS_SECRET", "nowhere")
    assert secrets(Example) == ("store_dsn",)
    assert read(Example).keep_days == 30


def test_a_setting_in_two_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", DSN)
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_SECRET", _put("store", SecretString=DSN))
    with pytest.raises(EnvironmentVariableError, match="PGANALYTICS_STORE_DSN_SECRET: both are set"):
        read(Example)


def test_a_secret_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_SECRET", "nowhere")
    with pytest.raises(EnvironmentVariableError, match=r"_DSN_SECRET: secret nowhere: .*ResourceNotFoundException"):
        read(Example)


def test_a_secret_that_is_no_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_SECRET", "store")
    _put("store", SecretBinary=b"\x00")
    with pytest.raises(EnvironmentVariableError, match="secret store: its value is binary"):
        read(Example)


def test_a_variable_that_is_missing_is_named() -> None:
    with pytest.raises(EnvironmentVariableError, match="PGANALYTICS_STORE_DSN: Field required"):
        read(Example)


def _private(path: Path, content: str | bytes = DSN) -> Path:
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that systemd gives a service; who may read it access lists say, which show as a group's mode."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    file = _private(folder / "pganalytics.store_dsn", f"{DSN}\n")
    file.chmod(0o440)
    return folder


def test_a_secret_setting_may_stand_in_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_FILE", str(_private(tmp_path / "dsn", f"{DSN}\n")))
    settings = read(Example)
    assert settings.store_dsn.get_secret_value() == DSN
    assert "sesame" not in repr(settings)


def test_it_may_be_a_credential_of_systemd(credentials: Path) -> None:
    assert read(Example).store_dsn.get_secret_value() == DSN


@pytest.mark.usefixtures("credentials")
def test_what_a_variable_says_stands_before_the_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=other")
    assert read(Example).store_dsn.get_secret_value() == "host=other"


def test_a_file_may_be_a_credential_under_another_name(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = _private(credentials / "other", "host=other")
    other.chmod(0o440)
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_FILE", str(other))
    assert read(Example).store_dsn.get_secret_value() == "host=other"


def test_without_the_credential_the_variable_is_asked_for(credentials: Path) -> None:
    (credentials / "pganalytics.store_dsn").unlink()
    with pytest.raises(EnvironmentVariableError, match="PGANALYTICS_STORE_DSN: Field required"):
        read(Example)


@pytest.mark.parametrize("two", [("", "_FILE"), ("_FILE", "_SECRET"), ("", "_FILE", "_SECRET")])
def test_two_places_at_once_are_refused_unread(monkeypatch: pytest.MonkeyPatch, two: tuple[str, ...]) -> None:
    for suffix in two:
        monkeypatch.setenv(f"PGANALYTICS_STORE_DSN{suffix}", "/nonexistent")
    with pytest.raises(EnvironmentVariableError) as error:
        read(Example)
    names = ", ".join(f"PGANALYTICS_STORE_DSN{suffix}" for suffix in two)
    assert str(error.value) == f"{names}: {'both' if len(two) == 2 else 'all'} are set; keep one"


def _open_to_others(file: Path) -> None:
    file.chmod(0o640)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_open_to_others, "chmod 600 it, and change the secret"),
        (Path.unlink, "No such file or directory"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "not a text file"),
        (lambda file: file.write_bytes(b"x" * 70_000), "more than 65536 bytes; is it another file?"),
        (lambda file: (file.unlink(), file.mkdir(0o700)), "Is a directory"),
    ],
    ids=["open to others", "missing", "no text", "long", "a folder"],
)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    file = _private(tmp_path / "dsn")
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_FILE", str(file))
    spoil(file)
    with pytest.raises(EnvironmentVariableError) as error:
        read(Example)
    assert str(error.value).startswith(f"PGANALYTICS_STORE_DSN_FILE: {file}: ")
    assert says in str(error.value)
    assert "sesame" not in str(error.value)


def test_a_file_further_down_is_no_credential(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    below = tmp_path / "credentials" / "more"
    below.mkdir(parents=True)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(below.parent))
    file = _private(below / "dsn")
    file.chmod(0o444)
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_FILE", str(file))
    with pytest.raises(EnvironmentVariableError, match="chmod 600"):
        read(Example)
