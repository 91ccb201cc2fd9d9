"""Enrolment tokens: made for hosts that are to come, listed, revoked. The store has only their hashes."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import LiteralString

from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from pydantic import AwareDatetime

from contracts.identity import Enrolment, EnrolmentAsked, EnrolmentCreated, Enrolments
from functions.pages import Text, decode, encode
from functions.store import Connection

_PREFIX = "pge_"
_TOKEN = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")


def token_sha256(token: str) -> bytes | None:
    """What the store knows an enrolment token by; None: it is none."""
    return hashlib.sha256(token.encode()).digest() if _TOKEN.fullmatch(token) else None


def create(connection: Connection, asked: EnrolmentAsked, by: str, now: datetime) -> EnrolmentCreated:
    """A new enrolment token, shown this once."""
    token = _PREFIX + secrets.token_urlsafe(32)
    statement: LiteralString = """
        insert into identity.enrolment
            (id, token_sha256, created_at, created_by, expires_at, uses, labels, agent_id, comment)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        returning id, created_at, created_by, expires_at, uses, used, labels, agent_id, comment, revoked_at
    """
    expires_at = now + timedelta(seconds=asked.expires_in)
    values = (asked.uses, Jsonb(asked.labels), asked.agent_id, asked.comment)
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            statement, (secrets.token_hex(8), token_sha256(token), now, by, expires_at, *values)
        ).fetchone()
    assert row is not None
    return EnrolmentCreated(**row, token=token)


def page(connection: Connection, limit: int, cursor: str | None) -> Enrolments:
    """One page of enrolment tokens, the newest first.

    Raises:
        CursorError: the cursor is not of this route.
    """
    before = decode(cursor, AwareDatetime, Text) if cursor else (None, None)
    statement: LiteralString = """
        select id, created_at, created_by, expires_at, uses, used, labels, agent_id, comment, revoked_at
        from identity.enrolment
        where %(at)s::timestamptz is null or (created_at, id) < (%(at)s, %(id)s)
        order by created_at desc, id desc limit %(limit)s
    """
    with connection.cursor(row_factory=dict_row) as found:
        rows: list[DictRow] = found.execute(
            statement, {"at": before[0], "id": before[1], "limit": limit + 1}
        ).fetchall()
    last = rows[limit - 1] if len(rows) > limit else None
    following = encode((last["created_at"], last["id"])) if last else None
    return Enrolments(items=[Enrolment(**row) for row in rows[:limit]], next=following)


def revoke(connection: Connection, id: str, now: datetime) -> bool:
    """Whether there is such a token; from now on it enrols nobody. Who is enrolled stays so."""
    done = connection.execute(
        "update identity.enrolment set revoked_at = coalesce(revoked_at, %s) where id = %s", (now, id)
    )
    return done.rowcount == 1
