"""What an access token says (JWT, HS256; RFC 7519)."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from contracts.names import AgentId, RoleName, UserName

ISSUER = "pganalytics"

#: How long a token is good for, unless told otherwise.
TOKEN_SECONDS = 15 * 60


class Audience(StrEnum):
    """Whom a token was made for: neither kind opens the other's routes."""

    AGENT = "pganalytics-agent"
    OPERATOR = "pganalytics-operator"


class Role(IntEnum):
    """What an operator may do; a higher role may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


_NumericDate = Annotated[int, Field(strict=True, ge=0, le=253_402_300_799)]


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    iss: Literal["pganalytics"]
    exp: _NumericDate
    nbf: _NumericDate
    iat: _NumericDate
    jti: Annotated[str, StringConstraints(min_length=16, max_length=64)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.nbf <= self.exp:
            raise ValueError("exp: before nbf")
        return self


class Confirmation(BaseModel):
    """The certificate that a token is bound to: the base64url of the sha-256 of its DER (RFC 8705, section 3.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    x5t_s256: Annotated[str, Field(alias="x5t#S256", pattern=r"^[A-Za-z0-9_-]{43}$")]


class AgentClaims(_Claims):
    """Of an agent: `sub` is its id; it writes its own batches and reads its own configuration.

    With `cnf` the token is good only over a connection of that client certificate.
    """

    aud: Literal[Audience.AGENT]
    sub: AgentId
    scope: Literal["batches:write config:read"] = "batches:write config:read"
    cnf: Annotated[Confirmation | None, Field(exclude_if=lambda cnf: cnf is None)] = None


class OperatorClaims(_Claims):
    """Of a person or a program of theirs: `sub` is the user's name, `scope` the role."""

    aud: Literal[Audience.OPERATOR]
    sub: UserName
    scope: RoleName

    @property
    def role(self) -> Role:
        return Role[self.scope.upper()]


Claims = Annotated[AgentClaims | OperatorClaims, Field(discriminator="aud")]

CLAIMS: TypeAdapter[AgentClaims | OperatorClaims] = TypeAdapter(Claims)
