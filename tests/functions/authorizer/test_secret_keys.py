from __future__ import annotations

import time
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from functions.authorizer import secret_keys
from functions.authorizer.handler import handler
from functions.authorizer.keys import Keys, KeysError, SigningKey, dump, generate
from functions.authorizer.secret_keys import AGAIN_SECONDS, STAND_SECONDS, UNKNOWN_SECONDS, SecretKeys
from functions.authorizer.tokens import issue
from functions.secret import read_secret
from tests.functions.events import agent_claims, request

NAME = "pganalytics/keys"
START = 1_800_000_000.0


@pytest.fixture(autouse=True)
def first(monkeypatch: pytest.MonkeyPatch) -> Iterator[SigningKey]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    key = generate()
    with mock_aws():
        boto3.client("secretsmanager").create_secret(Name=NAME, SecretString=dump([key]))
        yield key


def _put(text: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=NAME, SecretString=text)


def _delete() -> None:
    boto3.client("secretsmanager").delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)


def _authorized(key: SigningKey) -> object:
    token = issue(agent_claims(), Keys((key,)))
    return handler(request("GET", "/v1/config", headers={"authorization": f"Bearer {token}"}), None)["isAuthorized"]


def test_the_authorizer_takes_the_keys_of_a_secret(first: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_KEYS_SECRET", NAME)
    assert _authorized(first) is True
    assert _authorized(generate()) is False


@pytest.mark.parametrize("both", [True, False])
def test_without_one_place_of_keys_all_is_denied(
    first: SigningKey, both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if both:
        monkeypatch.setenv("PGANALYTICS_KEYS_SECRET", NAME)
        monkeypatch.setenv("PGANALYTICS_KEYS_FILE", "/nowhere")
    assert _authorized(first) is False


def test_rotated_keys_are_seen_after_five_minutes(first: SigningKey) -> None:
    keys, second = SecretKeys(NAME), generate()
    assert keys.load(START).signing == first
    _put(dump([second, first]))
    assert keys.load(START + AGAIN_SECONDS - 1).signing == first
    assert keys.load(START + AGAIN_SECONDS).signing == second


def _readings(monkeypatch: pytest.MonkeyPatch, now: list[float]) -> list[str]:
    """What is read of Secrets Manager from now on, by the clock in `now`."""
    read: list[str] = []

    def reading(name: str) -> str:
        read.append(name)
        return read_secret(name)

    monkeypatch.setenv("PGANALYTICS_KEYS_SECRET", NAME)
    monkeypatch.setattr(secret_keys, "read_secret", reading)
    monkeypatch.setattr("functions.authorizer.handler.time.time", lambda: now[0])
    return read


def test_keys_that_were_replaced_at_once_are_seen_at_once(first: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    read = _readings(monkeypatch, now)
    assert _authorized(first) is True
    second = generate()
    _put(dump([second]))
    now[0] += UNKNOWN_SECONDS
    assert _authorized(second) is True
    assert _authorized(first) is False  # and the key in the wrong hands is no more
    assert len(read) == 2


def test_tokens_of_strangers_cause_a_reading_every_ten_seconds_at_most(
    first: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    read = _readings(monkeypatch, now)
    for _ in range(5):
        assert _authorized(generate()) is False
    assert len(read) == 1
    now[0] += UNKNOWN_SECONDS
    for _ in range(5):
        assert _authorized(generate()) is False
    assert _authorized(first) is True
    assert len(read) == 2


def test_the_last_keys_stand_an_hour_while_secrets_manager_does_not_answer(
    first: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = SecretKeys(NAME)
    keys.load(START)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    for at in (AGAIN_SECONDS, STAND_SECONDS - 1):
        assert keys.load(START + at).signing == first
    for later in (0, 1):
        with pytest.raises(KeysError, match=NAME):
            keys.load(START + STAND_SECONDS + AGAIN_SECONDS + later)


@pytest.mark.parametrize("text", ["{}", ""], ids=["broken", "gone"])
def test_keys_that_were_taken_away_open_nothing(first: SigningKey, text: str) -> None:
    keys = SecretKeys(NAME)
    keys.load(START)
    if text:
        _put(text)
    else:
        _delete()
    for at in (AGAIN_SECONDS, AGAIN_SECONDS + 1):
        with pytest.raises(KeysError, match=NAME):
            keys.load(START + at)
    if text:
        _put(dump([first]))
        assert keys.load(START + AGAIN_SECONDS + 2).signing == first


def test_a_secret_without_keys_is_an_error_that_shows_nothing_of_it() -> None:
    _put('{"keys": [{"kty": "oct", "kid": "a", "k": "sesame", "alg": "HS256"}]}')
    with pytest.raises(KeysError, match="secret pganalytics/keys: key a has 4 bytes") as caught:
        SecretKeys(NAME).load(START)
    assert "sesame" not in str(caught.value)
