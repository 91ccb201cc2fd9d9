"""The Lambda authorizer of the HTTP API (payload 2.0; simple answers, or policies): every error is a deny."""

from __future__ import annotations

import functools
import time
from typing import Any, Literal

from aws_lambda_powertools import Logger

from contracts.claims import AgentClaims, OperatorClaims
from functions.authorizer import key_source
from functions.authorizer.client_certificate import ClientCertificateError, fingerprint, thumbprint
from functions.authorizer.keys import Keys, KeysError
from functions.authorizer.permit import permitted
from functions.authorizer.secret_keys import UNKNOWN_SECONDS
from functions.authorizer.tokens import TokenRefusedError, UnknownKeyError, bearer, verify
from functions.environment import EnvironmentVariableError, read

logger = Logger(service="pganalytics")

#: Errors whose text is ours and repeats nothing of the token.
_OURS = (TokenRefusedError, KeysError, EnvironmentVariableError, ClientCertificateError)

_VERSION = "2012-10-17"


class AuthorizerEnvironment(key_source.KeysEnvironment):
    """Where the keys are; whether agents' tokens must be bound to certificates; what is answered."""

    authorizer_answer: Literal["simple", "policy"] = "simple"


@functools.cache
def _environment() -> AuthorizerEnvironment:
    return read(AuthorizerEnvironment)


def authorize(
    event: dict[str, Any], keys: Keys, now: float, *, bind_tokens: bool = False
) -> AgentClaims | OperatorClaims:
    """The claims of a request that may pass; with `bind_tokens` an agent's must be bound to a certificate.

    Raises:
        TokenRefusedError: it may not.
    """
    claims = verify(bearer(event["headers"]), keys, now)
    request = event["requestContext"]["http"]
    if not permitted(request["method"], request["path"], claims):
        raise TokenRefusedError(f"{claims.scope} of {claims.aud} does not open {request['method']} {request['path']}")
    if isinstance(claims, AgentClaims):
        _check_bound(claims, event, bind_tokens=bind_tokens)
    return claims


def _check_bound(claims: AgentClaims, event: dict[str, Any], *, bind_tokens: bool) -> None:
    if claims.cnf is None:
        if bind_tokens:
            raise TokenRefusedError("cnf: the token is not bound to a certificate")
        return
    presented = fingerprint(event)
    if presented is None:
        raise TokenRefusedError("cnf: the connection has no client certificate")
    if thumbprint(presented) != claims.cnf.x5t_s256:
        raise TokenRefusedError("cnf: the connection has another client certificate")


def _asked(event: dict[str, Any], environment: AuthorizerEnvironment, now: float) -> AgentClaims | OperatorClaims:
    bind_tokens = environment.bind_tokens
    try:
        return authorize(event, environment.keys(now), now, bind_tokens=bind_tokens)
    except UnknownKeyError:
        # Keys that were replaced at once are seen at once; strangers' tokens cause no more than a reading in a while.
        return authorize(event, environment.keys(now, UNKNOWN_SECONDS), now, bind_tokens=bind_tokens)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    claims, answer = None, "simple"
    try:
        environment = _environment()
        answer = environment.authorizer_answer
        claims = _asked(event, environment, time.time())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a deny
        # The text of an error that is not ours could repeat the token: its kind must do.
        logger.warning("denied", extra={"reason": str(error) if isinstance(error, _OURS) else type(error).__name__})
    return _policy(event, claims) if answer == "policy" else _simple(claims)


def _simple(claims: AgentClaims | OperatorClaims | None) -> dict[str, Any]:
    return {"isAuthorized": claims is not None, "context": _context(claims)}


def _policy(event: object, claims: AgentClaims | OperatorClaims | None) -> dict[str, Any]:
    """The answer as an IAM policy for the one request; where it names no route, nothing at all is allowed."""
    arn = event.get("routeArn") if isinstance(event, dict) else None
    # An asterisk of the caller's own would stand for other routes.
    allowed = claims is not None and isinstance(arn, str) and not {"*", "?"} & set(arn)
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if allowed else "Deny",
        "Resource": arn if allowed else "*",
    }
    return {
        "principalId": claims.sub if claims and allowed else "nobody",
        "policyDocument": {"Version": _VERSION, "Statement": [statement]},
        "context": {name: str(value) for name, value in _context(claims if allowed else None).items()},
    }


def _context(claims: AgentClaims | OperatorClaims | None) -> dict[str, Any]:
    # What a function learns of its caller is flat; it has no use for the certificate that was compared here.
    return claims.model_dump(mode="json", exclude={"cnf"}) if claims else {}
