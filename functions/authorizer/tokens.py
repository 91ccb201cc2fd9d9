"""Access tokens: issued and verified (JWT, HS256; RFC 7519, with the advice of RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
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


class UnknownKeyError(TokenRefusedError):
    """No key of its `kid` is known: it may be newer than what was read of the keys."""


def issue(claims: AgentClaims | OperatorClaims, keys: Keys) -> str:
    """A token that says these claims, signed with the first key."""
    signing = keys.signing
    return jwt.encode(claims.model_dump(mode="json"), signing.secret, ALGORITHM, {"kid": signing.kid})


def bearer(headers: Mapping[str, str]) -> str:
    """The token that a request came with.

    Raises:
        TokenRefusedError: there is none, or more than one.
    """
    # API Gateway writes header names in lower case, and joins what came twice with a comma: that is no token.
    found = [value for name, value in headers.items() if name.lower() == "authorization"]
    if len(found) != 1:
        raise TokenRefusedError(f"{len(found)} Authorization headers")
    scheme, _, token = found[0].partition(" ")
    if scheme.lower() != "bearer":
        raise TokenRefusedError("Authorization: not Bearer")
    return token.strip(" ")


def verify(token: str, keys: Keys, now: float) -> AgentClaims | OperatorClaims:
    """What a token says, if one of the keys signed it and it holds at `now`, in seconds since 1970.

    Raises:
        TokenRefusedError: anything is not exactly as `issue` writes it.
    """
    secret = _secret(header(token, ALGORITHM), keys)
    try:
        said = jwt.PyJWS().decode(token, secret, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError as error:
        raise TokenRefusedError(f"signature: {type(error).__name__}") from error
    try:
        claims = CLAIMS.validate_python(json_object(said, "claims"))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise TokenRefusedError(f"claims: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if now < claims.nbf:
        raise TokenRefusedError(f"not valid before {claims.nbf}")
    if now >= claims.exp:
        raise TokenRefusedError(f"expired at {claims.exp}")
    return claims


def header(token: str, algorithm: str) -> dict[str, Any]:
    """The header of a token of this algorithm; it says `alg`, `kid` and `typ`, and nothing else.

    Raises:
        TokenRefusedError: it says anything else, or it is no token in three parts.
    """
    if len(token) > MAX_BYTES:
        raise TokenRefusedError(f"more than {MAX_BYTES} bytes")
    if not _COMPACT.fullmatch(token):
        raise TokenRefusedError("not three parts of base64url")
    found = json_object(_decode(token.split(".")[0]), "header")
    # What the header may say is listed: `jku`, `jwk`, `x5u` and `crit` are how tokens bring keys of their own.
    if unknown := found.keys() - _HEADER:
        raise TokenRefusedError(f"header: unexpected {', '.join(sorted(unknown))}"[:200])
    if found.get("alg") != algorithm:
        raise TokenRefusedError(f"header: alg is not {algorithm}")
    if found.get("typ", "JWT") != "JWT":
        raise TokenRefusedError("header: typ is not JWT")
    return found


def payload(token: str) -> bytes:
    """What a token of three parts says, before anybody has looked at its signature.

    Raises:
        TokenRefusedError: it is not base64url.
    """
    return _decode(token.split(".")[1])


def _secret(header: dict[str, Any], keys: Keys) -> bytes:
    kid = header.get("kid")
    key = keys.find(kid) if isinstance(kid, str) else None
    if key is None:
        raise UnknownKeyError("header: no key of that kid")
    return key.secret


def _decode(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise TokenRefusedError("not base64url") from error


def json_object(data: bytes, place: str) -> dict[str, Any]:
    """A part of a token as JSON.

    Raises:
        TokenRefusedError: it is no object, or one in which a key stands twice.
    """
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
