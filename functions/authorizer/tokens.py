"""Access tokens: issued and verified (JWT, HS256; RFC 7519, with the advice of RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import jwt
from pydantic import ValidationError

from contracts.claims import CLAIMS, AgentClaims, OperatorClaims
from functions.authorizer.keys import ALGORITHM, Keys

#: A token of ours has some 400 bytes.
MAX_BYTES = 4096

_HEADER = frozenset({"alg", "kid", "typ"})
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenRefusedError(Exception):
    """The token opens nothing; the reason is for the log, not for the caller."""


def issue(claims: AgentClaims | OperatorClaims, keys: Keys) -> str:
    """A token that says these claims, signed with the first key."""
    signing = keys.signing
    return jwt.encode(claims.model_dump(mode="json"), signing.secret, ALGORITHM, {"kid": signing.kid})


def verify(token: str, keys: Keys, now: float) -> AgentClaims | OperatorClaims:
    """What a token says, if one of the keys signed it and it holds at `now`, in seconds since 1970.

    Raises:
        TokenRefusedError: anything is not exactly as `issue` writes it.
    """
    if len(token) > MAX_BYTES:
        raise TokenRefusedError(f"more than {MAX_BYTES} bytes")
    if not _COMPACT.fullmatch(token):
        raise TokenRefusedError("not three parts of base64url")
    secret = _secret(_object(_decode(token.partition(".")[0]), "header"), keys)
    try:
        payload = jwt.PyJWS().decode(token, secret, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError as error:
        raise TokenRefusedError(f"signature: {type(error).__name__}") from error
    try:
        claims = CLAIMS.validate_python(_object(payload, "claims"))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise TokenRefusedError(f"claims: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if now < claims.nbf:
        raise TokenRefusedError(f"not valid before {claims.nbf}")
    if now >= claims.exp:
        raise TokenRefusedError(f"expired at {claims.exp}")
    return claims


def _secret(header: dict[str, Any], keys: Keys) -> bytes:
    # What the header may say is listed: `jku`, `jwk`, `x5u` and `crit` are how tokens bring keys of their own.
    if unknown := header.keys() - _HEADER:
        raise TokenRefusedError(f"header: unexpected {', '.join(sorted(unknown))}"[:200])
    if header.get("alg") != ALGORITHM:
        raise TokenRefusedError(f"header: alg is not {ALGORITHM}")
    if header.get("typ", "JWT") != "JWT":
        raise TokenRefusedError("header: typ is not JWT")
    kid = header.get("kid")
    key = keys.find(kid) if isinstance(kid, str) else None
    if key is None:
        raise TokenRefusedError("header: no key of that kid")
    return key.secret


def _decode(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise TokenRefusedError("header: not base64url") from error


def _object(data: bytes, place: str) -> dict[str, Any]:
    try:
        found = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise TokenRefusedError(f"{place}: {error if isinstance(error, _TwiceError) else 'not JSON'}") from error
    if not isinstance(found, dict):
        raise TokenRefusedError(f"{place}: not an object")
    return found


class _TwiceError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of one token must not see two different values.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError("a key stands twice")
    return found
