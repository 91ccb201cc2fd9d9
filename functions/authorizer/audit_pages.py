"""Reads the audit log, page by page, the newest first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import dict_row
from pydantic import AwareDatetime

from contracts.identity import Audit, AuditEntry
from functions.pages import Bigint, decode, encode
from functions.store import Store


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries: of this action, of this actor, at or after `from_at`, before `until_at`; None is any."""

    action: str | None = None
    actor: str | None = None
    from_at: datetime | None = None
    until_at: datetime | None = None


def entries(store: Store, wanted: Filter, limit: int, cursor: str | None) -> Audit:
    """One page of entries.

    Raises:
        CursorError: the cursor is not of this route.
        StoreUnavailableError: try again later.
    """
    before_at, before_id = decode(cursor, AwareDatetime, Bigint) if cursor else (None, None)
    with store.transaction() as connection, connection.cursor(row_factory=dict_row) as found:
        rows = found.execute(
            """
            select * from identity.audit
            where (%(before_at)s::timestamptz is null or (at, id) < (%(before_at)s, %(before_id)s::bigint))
                and (%(from_at)s::timestamptz is null or at >= %(from_at)s)
                and (%(until_at)s::timestamptz is null or at < %(until_at)s)
                and (%(action)s::text is null or action = %(action)s)
                and (%(actor)s::text is null or actor = %(actor)s)
            order by at desc, id desc limit %(limit)s
            """,
            {**asdict(wanted), "before_at": before_at, "before_id": before_id, "limit": limit + 1},
        ).fetchall()
    following = encode((rows[limit - 1]["at"], rows[limit - 1]["id"])) if len(rows) > limit else None
    return Audit(items=[AuditEntry(**row) for row in rows[:limit]], next=following)
