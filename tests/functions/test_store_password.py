"""The store's password changes while functions are warm: they go on, and nobody deploys them again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import psycopg
import pytest
from moto import mock_aws
from psycopg import sql

from functions.environment import EnvironmentVariableError, read
from functions.store import Store, StoreEnvironment, StoreUnavailableError
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres

NAME = "rds!cluster-1"


@pytest.fixture(scope="module")
def guarded() -> Iterator[EmbeddedPostgres]:
    """A server that asks everyone but its superuser for a password."""
    with embedded_postgres(THROWAWAY) as running:
        rules = running.data / "pg_hba.conf"
        rules.write_text(f"local all postgres trust\nlocal all all scram-sha-256\n{rules.read_text()}")
        with psycopg.connect(running.dsn(), autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
            connection.execute("create role app login password 'first'")
        yield running


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch, guarded: EmbeddedPostgres) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("PGANALYTICS_STORE_DSN_SECRET", NAME)
    monkeypatch.setenv("PGANALYTICS_STORE_AT", f"host={guarded.directory} port={guarded.port} dbname=postgres")
    _alter(guarded, "first")
    with mock_aws():
        boto3.client("secretsmanager").create_secret(Name=NAME, SecretString=_as_rds("first"))
        yield


def _as_rds(password: str) -> str:
    return json.dumps({"username": "app", "password": password})


def _put(password: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=NAME, SecretString=_as_rds(password))


def _alter(server: EmbeddedPostgres, password: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("alter role app password {}").format(sql.Literal(password)))


def _end_sessions(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'app'")


def _who(store: Store) -> object:
    with store.transaction() as connection:
        return connection.execute("select current_user, current_setting('timezone')").fetchone()


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("password", ["second", "it's \\ a=b 'one'"])
def test_a_new_password_is_taken_up_by_a_warm_function(guarded: EmbeddedPostgres, password: str) -> None:
    store = read(StoreEnvironment).store("tests")
    assert _who(store) == ("app", "UTC")
    _alter(guarded, password)
    _put(password)
    assert _who(store) == ("app", "UTC"), "an open connection outlives the password"
    _end_sessions(guarded)
    assert _who(store) == ("app", "UTC")
    store.close()


@pytest.mark.usefixtures("secret")
def test_a_password_that_is_still_refused_is_an_outage_that_does_not_show_it(guarded: EmbeddedPostgres) -> None:
    store = read(StoreEnvironment).store("tests")
    _alter(guarded, "second")
    for _ in range(2):
        with pytest.raises(StoreUnavailableError) as failed:
            _who(store)
        assert "first" not in str(failed.value)
    _put("second")
    assert _who(store) == ("app", "UTC")
    store.close()


@pytest.mark.usefixtures("secret")
def test_a_secret_that_is_gone_when_it_is_asked_again_is_an_outage(guarded: EmbeddedPostgres) -> None:
    store = read(StoreEnvironment).store("tests")
    _alter(guarded, "second")
    boto3.client("secretsmanager").delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    with pytest.raises(StoreUnavailableError, match="PGANALYTICS_STORE_DSN_SECRET: secret"):
        _who(store)


@pytest.mark.parametrize("secret", ["host=store password=sesame", '{"username": "app"}', '["sesame"]', "7"])
def test_a_secret_that_rds_did_not_write_is_named_and_not_shown(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", secret)
    monkeypatch.setenv("PGANALYTICS_STORE_AT", "host=store")
    with pytest.raises(EnvironmentVariableError, match="PGANALYTICS_STORE_AT: ") as failed:
        _ = read(StoreEnvironment).dsn
    assert "sesame" not in str(failed.value)


def test_a_connection_string_alone_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=store password=sesame")
    settings = read(StoreEnvironment)
    assert settings.dsn.get_secret_value() == "host=store password=sesame"
    assert "sesame" not in repr(settings)
