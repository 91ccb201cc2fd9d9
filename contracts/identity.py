"""What agents and operators say to prove who they are: enrolment, assertions, certificates, logins.

Enrolment: the agent makes its key pair on its host and sends a certificate signing request (PKCS #10) whose subject is
CN=<agent_id> and nothing else, with an enrolment token in the Authorization header. Access tokens: it then signs an
assertion (RFC 7523) with that key, and gets a JWT of fifteen minutes for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from contracts.limits import BIGINT_MAX
from contracts.names import AgentId, RoleName, UserName

#: The one signature that agents make: ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
ASSERTION_ALGORITHM = "ES256"

#: How long an assertion may be good for, and how far the two clocks may be apart.
ASSERTION_SECONDS = 60
LEEWAY_SECONDS = 10

#: A client certificate's life; it is renewed when a third of it is left.
CERTIFICATE_DAYS = 90

#: No request for a certificate has more bytes.
MAX_CSR_BYTES = 8192

_Pem = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CSR_BYTES)]

#: A label of an agent, such as `environment=production`: groups of the configuration select by them.
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=32, json_schema_extra={"additionalProperties": False})]

#: Long enough that guessing is hopeless; its upper end is where hashing would cost the server.
MIN_PASSWORD, MAX_PASSWORD = 12, 256


def _of_a_good_length(password: SecretStr) -> SecretStr:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        bounds = {"least": MIN_PASSWORD, "most": MAX_PASSWORD}
        raise PydanticCustomError("password_length", "a password has {least} to {most} characters", bounds)
    return password


NewPassword = Annotated[
    SecretStr,
    AfterValidator(_of_a_good_length),
    Field(json_schema_extra={"minLength": MIN_PASSWORD, "maxLength": MAX_PASSWORD}),
]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Answer(BaseModel):
    # Who is older than the server leaves alone what it does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class CertificateAsked(_Asked):
    """A certificate signing request, PEM: to enrol, and to renew."""

    csr: _Pem


class Enrolled(_Answer):
    """An agent's client certificate, and the audience of its assertions; `authority` are the fleet's CAs. All PEM."""

    agent_id: AgentId
    certificate: str
    authority: str
    audience: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    not_after: AwareDatetime
    labels: dict[str, str] = Field(default_factory=dict)


class TokenAsked(_Asked):
    """An assertion in exchange for an access token (RFC 7523, section 2.1), as JSON."""

    grant_type: Literal["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assertion: Annotated[str, StringConstraints(min_length=1, max_length=4096), Field(repr=False)]


class TokenGranted(_Answer):
    """An access token, good for `expires_in` seconds (RFC 6749, section 5.1)."""

    access_token: Annotated[str, Field(repr=False)]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme, no secret
    expires_in: Annotated[int, Field(ge=1)]


class LoginAsked(_Asked):
    """A name and a password."""

    name: Annotated[str, StringConstraints(max_length=64)]
    password: Annotated[SecretStr, Field(max_length=MAX_PASSWORD)]


class RefreshAsked(_Asked):
    """A refresh token: to go on with a session, or to end it."""

    refresh_token: Annotated[SecretStr, Field(max_length=200)]


class SessionGranted(_Answer):
    """An access token, and the refresh token that the next one is had for: it is good once."""

    access_token: Annotated[str, Field(repr=False)]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme, no secret
    expires_in: Annotated[int, Field(ge=1)]
    refresh_token: Annotated[str, Field(repr=False)]
    name: UserName
    role: RoleName


class EnrolmentAsked(_Asked):
    """A new enrolment token. With `agent_id` it enrols this one agent, in the place of one of that name if need be."""

    uses: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 1
    expires_in: Annotated[int, Field(strict=True, ge=60, le=365 * 86400)] = 86400
    labels: Labels = Field(default_factory=dict)
    agent_id: AgentId | None = None
    comment: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] = ""


class Enrolment(_Answer):
    """An enrolment token, without the token itself."""

    id: str
    created_at: AwareDatetime
    created_by: str
    expires_at: AwareDatetime
    uses: int
    used: int
    labels: dict[str, str]
    agent_id: str | None
    comment: str
    revoked_at: AwareDatetime | None


class EnrolmentCreated(Enrolment):
    """An enrolment token. The token is shown this once: the store has its hash."""

    token: Annotated[str, Field(repr=False)]


class Enrolments(_Answer):
    """A page of enrolment tokens, the newest first."""

    items: list[Enrolment]
    next: str | None = None


class UserAsked(_Asked):
    """A new operator."""

    name: UserName
    role: RoleName
    password: NewPassword


class UserChanged(_Asked):
    """What changes of an operator: every session of theirs ends when they are disabled or their role changes."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    role: RoleName | SkipJsonSchema[None] = None
    disabled: Annotated[bool, Field(strict=True)] | SkipJsonSchema[None] = None

    @field_validator("role", "disabled", mode="before")
    @classmethod
    def _is_a_change(cls, value: object) -> object:
        if value is None:
            raise ValueError("null changes nothing; leave it out")
        return value


class PasswordAsked(_Asked):
    """A new password for an operator, by an admin; every session of theirs ends."""

    password: NewPassword


class OwnPasswordAsked(PasswordAsked):
    """A new password for the caller, who shows the old one."""

    old: Annotated[SecretStr, Field(max_length=MAX_PASSWORD)]


class User(_Answer):
    """An operator."""

    name: UserName
    role: RoleName
    created_at: AwareDatetime
    created_by: str
    disabled_at: AwareDatetime | None
    last_login_at: AwareDatetime | None


class Users(_Answer):
    """A page of operators, by name."""

    items: list[User]
    next: str | None = None


class AuditEntry(_Answer):
    """One act: who (`actor`, by `actor_kind`: agent, operator, command, nobody) did what to whom, and how it ended."""

    id: Annotated[int, Field(ge=0, le=BIGINT_MAX)]
    at: AwareDatetime
    actor_kind: str
    actor: str | None
    address: str | None
    action: str
    subject: str | None
    outcome: str
    detail: dict[str, Any]


class Audit(_Answer):
    """A page of the audit log, the newest first."""

    items: list[AuditEntry]
    next: str | None = None
