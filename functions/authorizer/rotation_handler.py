"""Makes the first keys of access tokens and the first authority, and rotates the keys as Secrets Manager asks.

`{"Step": "createSecret", "SecretId": …, "ClientRequestToken": …}` is a step of a rotation ("Lambda rotation functions"
in the guide of Secrets Manager); `{"begin": true}` is asked on deployment, and leaves alone what has a value.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field

from contracts.claims import AgentClaims, Audience
from functions.authorizer.authority import create as create_authority
from functions.authorizer.keys import Keys, KeysError, dump, parse
from functions.authorizer.rotation import fresh, rotate
from functions.authorizer.tokens import TokenRefusedError, issue, verify
from functions.environment import Environment, read

#: As `pganalytics authority create` has it.
AUTHORITY_NAME, AUTHORITY_DAYS = "pgAnalytics fleet", 3650

_CURRENT, _PENDING = "AWSCURRENT", "AWSPENDING"

logger = Logger(service="pganalytics")


class RotationError(Exception):
    """The new keys would not do, or the secret is not rotated here: the keys before stand."""


class RotationEnvironment(Environment):
    """The ARNs of the secrets."""

    keys_secret: str
    authority_secret: str


class Step(BaseModel):
    """One of the four steps of a rotation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: Literal["createSecret", "setSecret", "testSecret", "finishSecret"] = Field(alias="Step")
    secret_id: str = Field(alias="SecretId")
    token: str = Field(alias="ClientRequestToken", min_length=32, max_length=64)


class SecretsManager(Protocol):
    """What is needed of boto3's client, by the names and with the arguments of Secrets Manager's API."""

    exceptions: Any

    def describe_secret(self, **asked: str) -> dict[str, Any]: ...

    def get_secret_value(self, **asked: str) -> dict[str, Any]: ...

    def put_secret_value(self, **asked: Any) -> dict[str, Any]: ...  # noqa: ANN401 - texts, and a list of them

    def update_secret_version_stage(self, **asked: str) -> dict[str, Any]: ...


@functools.cache
def _environment() -> RotationEnvironment:
    return read(RotationEnvironment)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Do one step, or make the first values.

    Raises:
        RotationError, KeysError, TooSoonError: what was good stays; Secrets Manager tries again.
    """
    environment = _environment()
    patience = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})
    client = boto3.client("secretsmanager", config=patience)
    now = int(time.time())
    if event.get("begin") is True:
        made = {
            "keys": _begin(client, environment.keys_secret, lambda: dump(fresh(now))),
            "authority": _begin(
                client,
                environment.authority_secret,
                lambda: create_authority(AUTHORITY_NAME, AUTHORITY_DAYS, datetime.fromtimestamp(now, UTC)),
            ),
        }
        logger.info("first values", extra=made)
        return made
    asked = Step.model_validate(event)
    if client.describe_secret(SecretId=asked.secret_id)["ARN"] != environment.keys_secret:
        raise RotationError(f"SecretId: {asked.secret_id} is not rotated here; the keys of access tokens are")
    rotation = _Rotation(client, asked, now)
    # Nobody else has to be told of new keys: who uses them reads the secret.
    steps = {"createSecret": rotation.create, "testSecret": rotation.test, "finishSecret": rotation.finish}
    if asked.step in steps:
        steps[asked.step]()
    logger.info("rotation", extra={"step": asked.step})
    return {"step": asked.step}


def _begin(client: SecretsManager, name: str, make: Callable[[], str]) -> str:
    if client.describe_secret(SecretId=name).get("VersionIdsToStages"):
        return "stands"
    try:
        # One token for all who begin: the second to come has another value under it, and is refused.
        token = hashlib.sha256(name.encode()).hexdigest()
        client.put_secret_value(SecretId=name, SecretString=make(), ClientRequestToken=token)
    except client.exceptions.ResourceExistsException:
        return "stands"
    return "made"


class _Rotation:
    """The steps, each of which may come twice."""

    def __init__(self, client: SecretsManager, asked: Step, now: int) -> None:
        self._client = client
        self._name = asked.secret_id
        self._token = asked.token
        self._now = now

    def create(self) -> None:
        """Put the keys that are to be next, once."""
        try:
            self._keys(_PENDING)
        except self._client.exceptions.ResourceNotFoundException:
            self._client.put_secret_value(
                SecretId=self._name,
                SecretString=dump(rotate(self._keys(_CURRENT), self._now)),
                ClientRequestToken=self._token,
                VersionStages=[_PENDING],
            )

    def test(self) -> None:
        """What was signed with the keys before and what will be signed are both good with the new keys."""
        try:
            after = self._keys(_PENDING)
        except self._client.exceptions.ResourceNotFoundException:
            after = self._keys(_CURRENT)  # there is no rotation: whoever sets one up has this function tried
        self._check(after)

    def _check(self, after: Keys) -> None:
        before = self._keys(_CURRENT)
        times = {"iat": self._now, "nbf": self._now, "exp": self._now + 1}
        claims = AgentClaims(iss="pganalytics", aud=Audience.AGENT, sub="rotation", jti="0" * 16, **times)
        try:
            for signing in (before, after):
                verify(issue(claims, signing), after, self._now)
        except TokenRefusedError as error:
            raise RotationError(f"the new keys do not verify what is signed: {error}") from error

    def finish(self) -> None:
        """Let the new keys stand for the ones before."""
        self._check(self._keys(_PENDING))
        stages = self._client.describe_secret(SecretId=self._name)["VersionIdsToStages"]
        current = next(version for version, names in stages.items() if _CURRENT in names)
        if current != self._token:
            self._client.update_secret_version_stage(
                SecretId=self._name,
                VersionStage=_CURRENT,
                MoveToVersionId=self._token,
                RemoveFromVersionId=current,
            )

    def _keys(self, stage: str) -> Keys:
        version = {"VersionId": self._token} if stage == _PENDING else {}
        found = self._client.get_secret_value(SecretId=self._name, VersionStage=stage, **version)
        if "SecretString" not in found:
            raise KeysError(f"secret {self._name}: its value is binary; put a text")
        return parse(found["SecretString"].encode(), f"secret {self._name}")
