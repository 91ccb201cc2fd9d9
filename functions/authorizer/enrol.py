"""Enrolment: an agent comes with a token and its key, and gets its name and certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.types.json import Jsonb

from functions.authorizer.authority import Authority
from functions.authorizer.certificates import (
    Agent,
    Certified,
    RefusedError,
    Why,
    agent_of,
    certify,
    check_not_revoked,
    check_often,
    has_key,
)
from functions.authorizer.csr import CsrError, Requested, read
from functions.authorizer.enrolments import token_sha256
from functions.store import Connection


@dataclass(frozen=True, slots=True)
class _Enrolment:
    id: str
    expires_at: datetime
    uses: int
    used: int
    labels: dict[str, str]
    agent_id: str | None
    revoked_at: datetime | None


def enrol(connection: Connection, authority: Authority, token: str, csr: str, now: datetime) -> Certified:
    """Enrol an agent. The same key, name and token again are answered alike, and count as one use.

    A token that names no agent makes new names only; one that names an agent puts the caller in its place.

    Raises:
        RefusedError: the token, the request or the name is not good; to be rolled back.
        AuthorityError: the authority has expired.
    """
    enrolment = _enrolment(connection, token, now)
    try:
        requested = read(csr)
    except CsrError as error:
        raise RefusedError(Why.REQUEST, str(error), enrolment.id) from error
    agent = agent_of(connection, requested.agent_id)
    detail: dict[str, object] = {"enrolment": enrolment.id, "replaced": agent is not None}
    if agent is not None and _is_repeated(connection, enrolment, agent, requested):
        check_often(connection, requested.agent_id, now)
        detail |= {"again": True, "replaced": False}
    else:
        _use(connection, enrolment, requested, agent, now)
    return certify(connection, authority, requested, enrolment.labels, now, detail)


def _enrolment(connection: Connection, token: str, now: datetime) -> _Enrolment:
    # Whoever comes with the same token waits here: n uses are n.
    sha256 = token_sha256(token)
    if sha256 is None:
        raise RefusedError(Why.TOKEN, "Authorization: that is not an enrolment token; one begins with pge_")
    statement: LiteralString = """
        select id, expires_at, uses, used, labels, agent_id, revoked_at from identity.enrolment
        where token_sha256 = %s for update
    """
    row = connection.execute(statement, (sha256,)).fetchone()
    if row is None:
        raise RefusedError(Why.TOKEN, "the enrolment token is unknown to this server")
    found = _Enrolment(*row)
    if found.revoked_at is not None:
        raise RefusedError(Why.TOKEN, "the enrolment token was revoked; make a new one", found.id)
    if found.expires_at <= now:
        expired = f"the enrolment token expired at {found.expires_at:%Y-%m-%dT%H:%M:%SZ}; make a new one"
        raise RefusedError(Why.TOKEN, expired, found.id)
    return found


def _is_repeated(connection: Connection, enrolment: _Enrolment, agent: Agent, requested: Requested) -> bool:
    here = agent.enrolment_id == enrolment.id and agent.revoked_at is None
    return here and has_key(connection, requested)


def _use(
    connection: Connection, enrolment: _Enrolment, requested: Requested, agent: Agent | None, now: datetime
) -> None:
    name = requested.agent_id
    if enrolment.used >= enrolment.uses:
        raise RefusedError(Why.TOKEN, "the enrolment token is used up; make a new one", enrolment.id, name)
    if enrolment.agent_id not in {None, name}:
        foreign = f"the enrolment token is for {enrolment.agent_id}, and not for {name}"
        raise RefusedError(Why.NAME, foreign, enrolment.id, name)
    connection.execute("update identity.enrolment set used = used + 1 where id = %s", (enrolment.id,))
    values = {"name": name, "now": now, "enrolment": enrolment.id, "labels": Jsonb(enrolment.labels)}
    if agent is None or enrolment.agent_id is None:
        added = connection.execute(
            """
            insert into identity.agent (agent_id, enrolled_at, enrolment_id, labels)
            values (%(name)s, %(now)s, %(enrolment)s, %(labels)s) on conflict do nothing
            """,
            values,
        )
        if added.rowcount == 0:  # also where another enrolment of this name was faster
            taken = f"{name} is enrolled already; make an enrolment token for this agent: --agent {name}"
            raise RefusedError(Why.NAME, taken, enrolment.id, name)
        return
    check_not_revoked(connection, requested, enrolment.id)
    connection.execute(
        """
        update identity.agent
        set enrolled_at = %(now)s, enrolment_id = %(enrolment)s, labels = %(labels)s,
            revoked_at = null, revoked_by = null, revoked_reason = null
        where agent_id = %(name)s
        """,
        values,
    )
    connection.execute(
        """
        update identity.certificate set revoked_at = %s
        where agent_id = %s and key_sha256 <> %s and revoked_at is null
        """,
        (now, name, requested.key_sha256),
    )
