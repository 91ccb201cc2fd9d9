"""Operators' sessions: of each only the newest refresh token is good, and only once."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger
from pydantic import SecretStr

from contracts.claims import ISSUER, TOKEN_SECONDS, Audience, OperatorClaims
from contracts.identity import SessionGranted
from contracts.names import RoleName
from functions.audit import record
from functions.authorizer.keys import Keys
from functions.authorizer.tokens import issue
from functions.store import Connection, Store

#: How long a refresh token is good, and how long a session goes on at most.
REFRESH = timedelta(days=7)
SESSION = timedelta(days=30)

_PREFIX = "pgr_"

logger = Logger(service="pganalytics")


class SessionEndedError(Exception):
    """The refresh token is not good, or no longer; the message is for the caller."""

    def __init__(self) -> None:
        super().__init__("the session has ended; log in again")


def start(connection: Connection, keys: Keys, name: str, role: RoleName, now: datetime) -> tuple[str, SessionGranted]:
    """A new session: its id and its first tokens."""
    session, expires_at = uuid.uuid4(), now + SESSION
    connection.execute(
        "insert into identity.session (id, operator, created_at, expires_at) values (%s, %s, %s, %s)",
        (session, name, now, expires_at),
    )
    return str(session), _granted(connection, keys, session, name, role, expires_at, now)


def refresh(store: Store, keys: Keys, token: SecretStr, address: str, now: datetime) -> SessionGranted:
    """The session's next tokens in exchange for its refresh token, which is good for nothing from then on.

    A refresh token that comes a second time is one that two parties have: it ends the session.

    Raises:
        SessionEndedError: it is unknown, used, expired, or its session has ended.
    """
    digest = _digest(token)
    with store.transaction() as connection:
        row = connection.execute(
            """
            select s.id, o.name, o.role, s.expires_at, r.used_at, least(r.expires_at, s.expires_at)
            from identity.refresh r
            join identity.session s on s.id = r.session_id
            join identity.operator o on o.name = s.operator
            where r.token_sha256 = %s and s.ended_at is null and o.disabled_at is null
            for update of r, s
            """,
            (digest,),
        ).fetchone()
        if row is None:
            raise SessionEndedError
        session, name, role, expires_at, used_at, good_until = row
        if used_at is None and now < good_until:
            connection.execute("update identity.refresh set used_at = %s where token_sha256 = %s", (now, digest))
            return _granted(connection, keys, session, name, role, expires_at, now)
        if used_at is not None:
            connection.execute(
                "update identity.session set ended_at = %s, ended_why = 'reuse' where id = %s", (now, session)
            )
            detail = {"reason": "a refresh token came twice, which ended its session", "session": str(session)}
            logger.warning("refused", extra={"action": "refresh", "address": address, "user": name, **detail})
            record(
                connection,
                actor_kind="operator",  # whoever of the two it was: the token was of this operator's session
                actor=name,
                address=address,
                action="refresh",
                subject=name,
                outcome="refused",
                detail=detail,
            )
    raise SessionEndedError


def logout(store: Store, token: SecretStr, address: str, now: datetime) -> None:
    """End the session that this refresh token is of; nothing where there is none, or where it has ended."""
    with store.transaction() as connection:
        row = connection.execute(
            """
            update identity.session s set ended_at = %s, ended_why = 'logout'
            from identity.refresh r
            where r.token_sha256 = %s and s.id = r.session_id and s.ended_at is null
            returning s.id, s.operator
            """,
            (now, _digest(token)),
        ).fetchone()
        if row is not None:
            session, name = row
            record(
                connection,
                actor_kind="operator",
                actor=name,
                address=address,
                action="logout",
                subject=name,
                detail={"session": str(session)},
            )


def end_all(connection: Connection, name: str, why: str, now: datetime) -> int:
    """End every session of an operator; how many there were."""
    return connection.execute(
        "update identity.session set ended_at = %s, ended_why = %s where operator = %s and ended_at is null",
        (now, why, name),
    ).rowcount


def _granted(
    connection: Connection,
    keys: Keys,
    session: uuid.UUID,
    name: str,
    role: RoleName,
    expires_at: datetime,
    now: datetime,
) -> SessionGranted:
    token = SecretStr(_PREFIX + secrets.token_urlsafe(32))
    connection.execute(
        "insert into identity.refresh (token_sha256, session_id, issued_at, expires_at) values (%s, %s, %s, %s)",
        (_digest(token), session, now, min(now + REFRESH, expires_at)),
    )
    at = int(now.timestamp())
    # The access token ends with its session at the latest.
    seconds = max(1, min(TOKEN_SECONDS, int((expires_at - now).total_seconds())))
    claims = OperatorClaims(
        iss=ISSUER,
        exp=at + seconds,
        nbf=at,
        iat=at,
        jti=secrets.token_hex(16),
        aud=Audience.OPERATOR,
        sub=name,
        scope=role,
    )
    return SessionGranted(
        access_token=issue(claims, keys),
        expires_in=seconds,
        refresh_token=token.get_secret_value(),
        name=name,
        role=role,
    )


def _digest(token: SecretStr) -> bytes:
    return hashlib.sha256(token.get_secret_value().encode()).digest()
