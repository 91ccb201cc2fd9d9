"""Agents' signed assertions (RFC 7523): verified, each once, and what an agent may then say that it is.

The reasons are for the caller. None tells a stranger which agents there are.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, LiteralString

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from contracts.claims import ISSUER, TOKEN_SECONDS, AgentClaims, Audience, Confirmation
from contracts.identity import ASSERTION_ALGORITHM, ASSERTION_SECONDS, LEEWAY_SECONDS
from contracts.names import AgentId
from functions.authorizer.client_certificate import thumbprint
from functions.authorizer.tokens import TokenRefusedError, header, json_object, payload
from functions.store import Connection

_STRANGER = (
    "the assertion is not signed with the key of a certificate that is good: the agent is not enrolled here, was "
    "revoked, or its certificate has expired"
)
_CLOCK = "set the host's clock, or reckon with the time in the Date header of this answer"

_NumericDate = Annotated[int, Field(strict=True, ge=0, le=253_402_300_799)]


class AssertionRefusedError(TokenRefusedError):
    """The assertion gets no token. `agent_id`: who has signed it, where that is beyond doubt."""

    def __init__(self, message: str, agent_id: str | None = None) -> None:
        super().__init__(message)
        self.agent_id = agent_id


class _Assertion(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    iss: AgentId
    sub: AgentId
    aud: Annotated[str, Field(strict=True)]
    iat: _NumericDate
    exp: _NumericDate
    jti: Annotated[str, StringConstraints(strict=True, pattern=r"^[!-~]{16,64}$")]


def exchange(
    connection: Connection, assertion: str, audiences: Collection[str], presented: bytes | None, now: float
) -> AgentClaims:
    """What the token says that an assertion is exchanged for; it is good once.

    `presented` is the sha-256 of the connection's client certificate: the token is good with this certificate only.

    Raises:
        TokenRefusedError: the assertion is not good, or was used; an AssertionRefusedError where it was signed well.
    """
    said = _read(assertion, audiences, now)
    if not _is_signed(assertion, _keys(connection, said.iss, now)):
        raise TokenRefusedError(_STRANGER)
    if presented is not None and not _is_certificate_of(connection, said.iss, presented, now):
        raise AssertionRefusedError("the connection's client certificate is not a good one of this agent", said.iss)
    used: LiteralString = """
        insert into identity.assertion (agent_id, jti, expires_at) values (%s, %s, %s) on conflict do nothing
    """
    expires_at = datetime.fromtimestamp(said.exp + LEEWAY_SECONDS, UTC)
    if connection.execute(used, (said.iss, said.jti, expires_at)).rowcount == 0:
        raise AssertionRefusedError("jti: the assertion was used before; sign a new one for each token", said.iss)
    return _claims(said.iss, presented, int(now))


def _read(assertion: str, audiences: Collection[str], now: float) -> _Assertion:
    header(assertion, ASSERTION_ALGORITHM)
    try:
        said = _Assertion.model_validate(json_object(payload(assertion), "claims"))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise TokenRefusedError(f"claims: {'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]) from None
    if said.sub != said.iss:
        raise TokenRefusedError("claims: sub is not iss")
    if said.aud not in audiences:
        raise TokenRefusedError("claims: aud is another server's; the agent is enrolled there")
    if not 0 < said.exp - said.iat <= ASSERTION_SECONDS:
        raise TokenRefusedError(f"claims: exp is not 1 to {ASSERTION_SECONDS} seconds after iat")
    if said.exp <= now - LEEWAY_SECONDS:
        raise TokenRefusedError(f"the assertion expired {now - said.exp:.0f} s ago; {_CLOCK}")
    if said.iat > now + LEEWAY_SECONDS:
        raise TokenRefusedError(f"the assertion was made {said.iat - now:.0f} s in the future; {_CLOCK}")
    return said


def _keys(connection: Connection, agent_id: str, now: float) -> list[ec.EllipticCurvePublicKey]:
    statement: LiteralString = """
        select distinct c.public_key
        from identity.agent a join identity.certificate c using (agent_id)
        where a.agent_id = %s and a.revoked_at is null and c.revoked_at is null and c.not_after > to_timestamp(%s)
    """
    keys = [load_der_public_key(der) for (der,) in connection.execute(statement, (agent_id, now))]
    return [key for key in keys if isinstance(key, ec.EllipticCurvePublicKey)]


def _is_signed(assertion: str, keys: list[ec.EllipticCurvePublicKey]) -> bool:
    # Who has no key is checked against somebody's: the time that this takes must not tell who is enrolled.
    return any(_verifies(assertion, key) for key in keys or [_nobodys()]) and bool(keys)


def _verifies(assertion: str, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        jwt.PyJWS().decode(assertion, key, algorithms=[ASSERTION_ALGORITHM])
    except jwt.InvalidTokenError:
        return False
    return True


@functools.cache
def _nobodys() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def _is_certificate_of(connection: Connection, agent_id: str, fingerprint: bytes, now: float) -> bool:
    statement: LiteralString = """
        select from identity.certificate
        where fingerprint = %s and agent_id = %s and revoked_at is null and not_after > to_timestamp(%s)
    """
    return connection.execute(statement, (fingerprint, agent_id, now)).rowcount > 0


def _claims(agent_id: str, presented: bytes | None, now: int) -> AgentClaims:
    return AgentClaims(
        iss=ISSUER,
        aud=Audience.AGENT,
        sub=agent_id,
        iat=now,
        nbf=now - LEEWAY_SECONDS,  # the clock of whoever reads it may be a little behind
        exp=now + TOKEN_SECONDS,
        jti=secrets.token_hex(16),
        cnf=None if presented is None else Confirmation.model_validate({"x5t#S256": thumbprint(presented)}),
    )
