from __future__ import annotations

from collections.abc import Iterator

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
