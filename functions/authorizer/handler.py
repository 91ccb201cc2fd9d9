"""The Lambda authorizer of the HTTP API (payload 2.0, simple answers): every error is a deny."""

from __future__ import annotations

import functools
import time
from typing import Any

from aws_lambda_powertools import Logger

from contracts.claims import AgentClaims, OperatorClaims
from functions.authorizer.key_source import KeysEnvironment
from functions.authorizer.keys import Keys, KeysError
from functions.authorizer.permit import permitted
from functions.authorizer.tokens import TokenRefusedError, verify
from functions.environment import EnvironmentVariableError, read

logger = Logger(service="pganalytics")

#: Errors whose text is ours and repeats nothing of the token.
_OURS = (TokenRefusedError, KeysError, EnvironmentVariableError)


class AuthorizerEnvironment(KeysEnvironment):
    """Where the keys are."""


@functools.cache
def _environment() -> AuthorizerEnvironment:
    return read(AuthorizerEnvironment)


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
        claims = authorize(event, _environment().keys(now), now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a deny
        # The text of an error that is not ours could repeat the token: its kind must do.
        logger.warning("denied", extra={"reason": str(error) if isinstance(error, _OURS) else type(error).__name__})
        return {"isAuthorized": False, "context": {}}
    return {"isAuthorized": True, "context": claims.model_dump(mode="json")}
