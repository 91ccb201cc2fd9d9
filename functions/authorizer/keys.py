"""The keys that sign and verify access tokens: a JWK Set of symmetric keys (RFC 7517) that only its owner reads."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from functions.authorizer import private_file
from functions.authorizer.private_file import CredentialsError

ALGORITHM = "HS256"

#: HS256 wants a key as long as its hash (RFC 7518, section 3.2).
KEY_BYTES = 32

_MEND = "write it as `pganalytics keys` does, or restore it"


class KeysError(CredentialsError):
    """The keys cannot be used; the message names the file or secret and what to mend, and shows no key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One symmetric key, the name that tokens call it by, and the second since 1970 at which it was made, if known."""

    kid: str
    secret: bytes = field(repr=False)
    iat: int | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one file: the first signs, all verify, so that they can be rotated with an overlap.

    The next to sign stands among them as long as the first signs: it is known everywhere before its first token.
    """

    all: tuple[SigningKey, ...]

    @property
    def signing(self) -> SigningKey:
        return self.all[0]

    def find(self, kid: str) -> SigningKey | None:
        return next((key for key in self.all if key.kid == kid), None)


class _Jwk(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kty: Literal["oct"]
    kid: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    k: SecretStr
    alg: Literal["HS256"]
    iat: Annotated[int, Field(strict=True, ge=0, le=253_402_300_799)] | None = None


class _JwkSet(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Annotated[tuple[_Jwk, ...], Field(min_length=1, max_length=16)]


def generate(iat: int | None = None) -> SigningKey:
    """A new key under a new name."""
    return SigningKey(secrets.token_hex(8), secrets.token_bytes(KEY_BYTES), iat)


def dump(keys: Sequence[SigningKey]) -> str:
    """The keys as the text of a file; it is secret."""
    return json.dumps({"keys": [_jwk(key) for key in keys]}, indent=2)


def _jwk(key: SigningKey) -> dict[str, object]:
    made = {} if key.iat is None else {"iat": key.iat}
    return {"kty": "oct", "kid": key.kid, "k": _encode(key.secret), "alg": ALGORITHM, **made}


def load(path: Path) -> Keys:
    """The keys in a file, read again only when it has changed.

    Raises:
        KeysError: there is no such file, others can read it, or it is not a JWK Set of long enough keys.
    """
    return _read(path, private_file.stamp(path, KeysError, _MEND))


@functools.lru_cache(maxsize=4)
def _read(path: Path, _stamp: tuple[int, int, int]) -> Keys:
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; {_MEND}") from error


def parse(text: bytes, source: str) -> Keys:
    """The keys in a text.

    Raises:
        KeysError: it is not a JWK Set of long enough keys; the message names the source.
    """
    try:
        declared = _JwkSet.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole of it"
        raise KeysError(f"{source}: {place}: {first['msg']}; {_MEND}") from None
    keys = tuple(_key(source, each) for each in declared.keys)
    if len({key.kid for key in keys}) != len(keys):
        raise KeysError(f"{source}: two keys have the same kid; give each its own")
    return Keys(keys)


def _key(source: str, declared: _Jwk) -> SigningKey:
    text = declared.k.get_secret_value()
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeysError(f"{source}: key {declared.kid}: k is not base64url; {_MEND}") from None
    if len(secret) < KEY_BYTES:
        raise KeysError(
            f"{source}: key {declared.kid} has {len(secret)} bytes, at least {KEY_BYTES} are needed; replace it"
        )
    return SigningKey(declared.kid, secret, declared.iat)


def _encode(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
