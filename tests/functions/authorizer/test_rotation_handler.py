"""Secrets Manager rotates the keys of access tokens by four steps, and no token is refused for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from pydantic import ValidationError

from functions.authorizer import rotation_handler
from functions.authorizer.authority import parse as parse_authority
from functions.authorizer.handler import handler as authorize
from functions.authorizer.keys import Keys, KeysError, dump, generate, parse
from functions.authorizer.rotation import ROTATION_SECONDS, TooSoonError, fresh
from functions.authorizer.rotation_handler import RotationError, handler
from functions.authorizer.tokens import issue
from tests.functions.events import agent_claims, request

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        made = boto3.client("secretsmanager")
        for name in ("keys", "authority"):
            monkeypatch.setenv(f"PGANALYTICS_{name.upper()}_SECRET", made.create_secret(Name=name)["ARN"])
        rotation_handler._environment.cache_clear()
        yield made
        rotation_handler._environment.cache_clear()


def _keys(client: Any) -> Keys:
    return parse(client.get_secret_value(SecretId="keys", VersionStage="AWSCURRENT")["SecretString"].encode(), "keys")


def _put(client: Any, keys: Keys) -> None:
    client.put_secret_value(SecretId="keys", SecretString=dump(keys.all))


def _step(client: Any, step: str, token: str) -> dict[str, Any]:
    """As Secrets Manager asks, which adds a field now and then."""
    arn = client.describe_secret(SecretId="keys")["ARN"]
    return handler({"Step": step, "SecretId": arn, "ClientRequestToken": token, "RotationToken": "x"}, None)


def _rotate(client: Any) -> None:
    token = str(uuid.uuid4())
    for step in STEPS:
        for _ in range(2):  # each may come twice
            _step(client, step, token)


def _passes(keys: Keys) -> object:
    header = {"authorization": f"Bearer {issue(agent_claims(), keys)}"}
    return authorize(request("GET", "/v1/config", headers=header), None)["isAuthorized"]


def _fresh_and_known() -> Keys:
    return Keys(fresh(int(time.time()) - ROTATION_SECONDS))


def test_tokens_signed_before_and_after_a_rotation_are_good(client: Any) -> None:
    before = _fresh_and_known()
    _put(client, before)
    assert _passes(before)
    _rotate(client)
    after = _keys(client)
    assert after.signing == before.all[1], "the next key was known to everyone before it signs"
    assert after.all[2] == before.signing
    assert _passes(before)
    assert _passes(after)
    assert not _passes(Keys((generate(),)))


def test_an_authorizer_that_has_read_the_keys_before_knows_the_one_that_signs_after(client: Any) -> None:
    before = _fresh_and_known()
    _put(client, before)
    _rotate(client)
    assert before.find(_keys(client).signing.kid) is not None


def test_nothing_changes_before_the_last_step(client: Any) -> None:
    before, token = _fresh_and_known(), str(uuid.uuid4())
    _put(client, before)
    for step in STEPS[:-1]:
        _step(client, step, token)
        assert _keys(client) == before
    assert client.describe_secret(SecretId="keys")["VersionIdsToStages"][token] == ["AWSPENDING"]
    _step(client, "finishSecret", token)
    assert _keys(client) != before


def test_keys_rotated_a_moment_ago_are_left_to_a_later_try(client: Any) -> None:
    before = Keys(fresh(int(time.time())))
    _put(client, before)
    with pytest.raises(TooSoonError):
        _step(client, "createSecret", str(uuid.uuid4()))
    assert _keys(client) == before


@pytest.mark.parametrize("keeps", ["nothing", "no key that signed"])
def test_new_keys_that_would_not_do_never_stand(client: Any, keeps: str) -> None:
    before, token = _fresh_and_known(), str(uuid.uuid4())
    _put(client, before)
    client.put_secret_value(
        SecretId="keys",
        SecretString="{}" if keeps == "nothing" else dump(fresh(int(time.time()))),
        ClientRequestToken=token,
        VersionStages=["AWSPENDING"],
    )
    with pytest.raises(KeysError if keeps == "nothing" else RotationError):
        _step(client, "testSecret", token)
    assert _keys(client) == before


def test_no_other_secret_is_rotated_here(client: Any) -> None:
    arn = client.describe_secret(SecretId="authority")["ARN"]
    with pytest.raises(RotationError, match="is not rotated here"):
        handler({"Step": "createSecret", "SecretId": arn, "ClientRequestToken": str(uuid.uuid4())}, None)


@pytest.mark.parametrize("event", [{}, {"begin": "yes"}, {"Step": "dropSecret", "SecretId": "keys"}])
def test_what_secrets_manager_does_not_ask_is_refused(event: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        handler(event, None)


def test_first_values_are_made_once_and_then_stand(client: Any) -> None:
    assert handler({"begin": True}, None) == {"keys": "made", "authority": "made"}
    keys = _keys(client)
    authority = client.get_secret_value(SecretId="authority")["SecretString"]
    assert _passes(keys)
    assert parse_authority(authority.encode(), "authority").certificates
    assert handler({"begin": True}, None) == {"keys": "stands", "authority": "stands"}
    assert _keys(client) == keys
    assert client.get_secret_value(SecretId="authority")["SecretString"] == authority


def test_of_two_that_begin_at_once_the_second_leaves_what_the_first_made(client: Any) -> None:
    handler({"begin": True}, None)
    keys, arn = _keys(client), client.describe_secret(SecretId="keys")["ARN"]

    class Behind:
        """Looked before the first had put anything."""

        def describe_secret(self, **_asked: str) -> dict[str, Any]:
            return {}

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

    assert rotation_handler._begin(Behind(), arn, lambda: dump([generate()])) == "stands"
    assert _keys(client) == keys


def test_what_an_operator_put_stays(client: Any) -> None:
    mine = Keys((generate(),))
    _put(client, mine)
    assert handler({"begin": True}, None)["keys"] == "stands"
    assert _keys(client) == mine


def test_no_key_is_in_a_log(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="pganalytics")
    handler({"begin": True}, None)
    _put(client, _fresh_and_known())
    _rotate(client)
    text = " ".join(str(record.__dict__) for record in caplog.records if record.name == "pganalytics")
    assert "createSecret" in text
    assert '"k"' not in text
    assert "PRIVATE KEY" not in text
