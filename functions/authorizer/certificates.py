"""The certificates of agents: given, renewed, revoked with their agents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import LiteralString

from cryptography.hazmat.primitives import hashes

from contracts.identity import Enrolled
from functions.authorizer.authority import Authority, pem, sign
from functions.authorizer.csr import CsrError, Requested, read
from functions.store import Connection

#: Answers get lost and are asked for again; more than this in a day is no accident.
MAX_CERTIFICATES_A_DAY = 20


class Why(Enum):
    """What an enrolment or a renewal is refused for."""

    TOKEN = "token"  # noqa: S105 - a reason, no secret
    REQUEST = "request"
    NAME = "name"
    REVOKED = "revoked"
    OFTEN = "often"


class RefusedError(Exception):
    """No certificate; the message says what to mend. `enrolment_id` and `agent_id` where they are known."""

    def __init__(self, why: Why, message: str, enrolment_id: str | None = None, agent_id: str | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.enrolment_id = enrolment_id
        self.agent_id = agent_id


@dataclass(frozen=True, slots=True)
class Certified:
    """What an agent is answered, and what the audit log is told of it."""

    enrolled: Enrolled
    detail: dict[str, object]


@dataclass(frozen=True, slots=True)
class Agent:
    enrolment_id: str
    labels: dict[str, str]
    revoked_at: datetime | None


def renew(
    connection: Connection, authority: Authority, agent_id: str, csr: str, presented: bytes | None, now: datetime
) -> Certified:
    """A new certificate for an agent that is enrolled, for the key that it has.

    For another key only over a connection of its client certificate (`presented` is its sha-256): an access token
    that was stolen, and is good for minutes, must not become a certificate that is good for months.

    Raises:
        RefusedError: the request is another's, or the agent was revoked; to be rolled back.
        AuthorityError: the authority has expired.
    """
    agent = agent_of(connection, agent_id)
    if agent is None:
        raise RefusedError(Why.REVOKED, "this agent is not enrolled; enrol it", agent_id=agent_id)
    if agent.revoked_at is not None:
        raise RefusedError(Why.REVOKED, "this agent was revoked", agent_id=agent_id)
    try:
        requested = read(csr)
    except CsrError as error:
        raise RefusedError(Why.REQUEST, str(error), agent_id=agent_id) from error
    if requested.agent_id != agent_id:
        raise RefusedError(Why.NAME, f"csr: it is for {requested.agent_id}, and not for the caller", agent_id=agent_id)
    if not has_key(connection, requested) and not has_certificate(connection, agent_id, presented):
        message = "csr: for another key, ask over a connection with the client certificate that is to be replaced"
        raise RefusedError(Why.REQUEST, message, agent_id=agent_id)
    check_not_revoked(connection, requested)
    check_often(connection, agent_id, now)
    return certify(connection, authority, requested, agent.labels, now, {})


def revoke(connection: Connection, agent_id: str, by: str, reason: str, now: datetime) -> bool:
    """Whether such an agent is enrolled; from now on it gets no token, and its certificates are good for nothing."""
    done = connection.execute(
        """
        update identity.agent
        set revoked_by = case when revoked_at is null then %(by)s else revoked_by end,
            revoked_reason = case when revoked_at is null then %(reason)s else revoked_reason end,
            revoked_at = coalesce(revoked_at, %(now)s)
        where agent_id = %(agent_id)s
        """,
        {"by": by, "reason": reason, "now": now, "agent_id": agent_id},
    )
    if done.rowcount == 0:
        return False
    connection.execute(
        "update identity.certificate set revoked_at = %s where agent_id = %s and revoked_at is null", (now, agent_id)
    )
    return True


def agent_of(connection: Connection, agent_id: str) -> Agent | None:
    statement: LiteralString = (
        "select enrolment_id, labels, revoked_at from identity.agent where agent_id = %s for update"
    )
    row = connection.execute(statement, (agent_id,)).fetchone()
    return None if row is None else Agent(*row)


def has_key(connection: Connection, requested: Requested) -> bool:
    statement: LiteralString = """
        select from identity.certificate where agent_id = %s and key_sha256 = %s and revoked_at is null limit 1
    """
    return connection.execute(statement, (requested.agent_id, requested.key_sha256)).rowcount > 0


def has_certificate(connection: Connection, agent_id: str, fingerprint: bytes | None) -> bool:
    statement: LiteralString = """
        select from identity.certificate where agent_id = %s and fingerprint = %s and revoked_at is null
    """
    return fingerprint is not None and connection.execute(statement, (agent_id, fingerprint)).rowcount > 0


def check_not_revoked(connection: Connection, requested: Requested, enrolment_id: str | None = None) -> None:
    # Whoever stole a key that was revoked for it must not come back with the agent.
    statement: LiteralString = """
        select from identity.certificate where agent_id = %s and key_sha256 = %s and revoked_at is not null limit 1
    """
    if connection.execute(statement, (requested.agent_id, requested.key_sha256)).rowcount:
        message = "csr: its key was revoked; remove it from the host, and ask with a new one"
        raise RefusedError(Why.REQUEST, message, enrolment_id, requested.agent_id)


def check_often(connection: Connection, agent_id: str, now: datetime) -> None:
    statement: LiteralString = (
        "select count(*) from identity.certificate where agent_id = %s and not_before > %s - interval '1 day'"
    )
    row = connection.execute(statement, (agent_id, now)).fetchone()
    if row and row[0] >= MAX_CERTIFICATES_A_DAY:
        often = f"{agent_id} was given {row[0]} certificates within a day; find out why it asks for more"
        raise RefusedError(Why.OFTEN, often, agent_id=agent_id)


def certify(
    connection: Connection,
    authority: Authority,
    requested: Requested,
    labels: dict[str, str],
    now: datetime,
    detail: dict[str, object],
) -> Certified:
    certificate = sign(authority, requested.agent_id, requested.key, now)
    fingerprint = certificate.fingerprint(hashes.SHA256())
    not_after = certificate.not_valid_after_utc
    connection.execute(
        """
        insert into identity.certificate
            (fingerprint, serial, agent_id, key_sha256, public_key, not_before, not_after)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        (
            *(fingerprint, certificate.serial_number, requested.agent_id, requested.key_sha256, requested.key_der),
            *(certificate.not_valid_before_utc, not_after),
        ),
    )
    enrolled = Enrolled(
        agent_id=requested.agent_id,
        certificate=pem(certificate),
        authority=authority.pem,
        audience=authority.audiences[0],
        not_after=not_after,
        labels=labels,
    )
    told = {"fingerprint": fingerprint.hex(), "not_after": f"{not_after:%Y-%m-%dT%H:%M:%SZ}"}
    return Certified(enrolled, {**detail, **told})
