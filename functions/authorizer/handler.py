"""The Lambda authorizer of the HTTP API (payload 2.0, simple answers): every error is a deny."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, Self

from aws_lambda_powertools import Logger
from pydantic import model_validator

from contracts.claims import AgentClaims, OperatorClaims
from functions.authorizer.keys import Keys, KeysError, load
from functions.authorizer.permit import permitted
from functions.authorizer.secret_keys import SecretKeys
from functions.authorizer.tokens import TokenRefusedError, verify
from functions.environment import Environment, EnvironmentVariableError, read, variable

logger = Logger(service="pganalytics")

#: Errors whose text is ours and repeats nothing of the token.
_OURS = (TokenRefusedError, KeysError, EnvironmentVariableError)


class AuthorizerEnvironment(Environment):
    """Where the keys are: in a file, or in the secret of that name."""

    keys_file: Path | None = None
    keys_secret: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.keys_file is None) == (self.keys_secret is None):
            raise ValueError(f"set one of {variable('keys_file')} and {variable('keys_secret')}")
        return self


@functools.cache
def _environment() -> AuthorizerEnvironment:
    return read(AuthorizerEnvironment)


@functools.cache
def _secret_keys(name: str) -> SecretKeys:
    return SecretKeys(name)


def _keys(now: float) -> Keys:
    environment = _environment()
    if environment.keys_file is not None:
        return load(environment.keys_file)
    return _secret_keys(environment.keys_secret or "").load(now)


def authorize(event: dict[str, Any], keys: Keys, now: float) -> AgentClaims | OperatorClaims:
    """The claims of a request that may pass.

    Raises:
        TokenRefusedError: it may not.
    """
    claims = verify(_token(event), keys, now)
    request = event["requestContext"]["http"]
    if not permitted(request["method"], request["path"], claims):
        raise TokenRefusedError(f"{claims.scope} of {claims.aud} does not open {request['method']} {request['path']}")
    return claims


def _token(event: dict[str, Any]) -> str:
    # API Gateway writes header names in lower case, and joins what came twice with a comma: that is no token.
    found = [value for name, value in event["headers"].items() if name.lower() == "authorization"]
    if len(found) != 1:
        raise TokenRefusedError(f"{len(found)} Authorization headers")
    scheme, _, token = found[0].partition(" ")
    if scheme.lower() != "bearer":
        raise TokenRefusedError("Authorization: not Bearer")
    return str(token.strip(" "))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    try:
        now = time.time()
        claims = authorize(event, _keys(now), now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a deny
        # The text of an error that is not ours could repeat the token: its kind must do.
        logger.warning("denied", extra={"reason": str(error) if isinstance(error, _OURS) else type(error).__name__})
        return {"isAuthorized": False, "context": {}}
    return {"isAuthorized": True, "context": claims.model_dump(mode="json")}
