"""The audit log: who did what to whom, and what was refused. Nothing changes or removes what stands there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from psycopg.types.json import Jsonb

from functions.store import Connection

#: No text that a caller chose takes more room.
MAX_CHARACTERS = 300

#: Refusals of one action, by one kind of actor, in a minute: strangers must not fill the store, nor hide what one of
#: them does here behind what others do there. The function's log has all of them.
MAX_REFUSED_A_MINUTE = 300

Actor = Literal["agent", "operator", "command", "nobody"]
Outcome = Literal["done", "refused"]


def record(
    connection: Connection,
    *,
    actor_kind: Actor,
    actor: str | None,
    address: str | None,
    action: str,
    subject: str | None = None,
    outcome: Outcome = "done",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Write one entry, in the caller's transaction: what is done is committed with it, what is refused apart.

    Whatever a stranger sent as a name can be written. No secret belongs into any of it.
    """
    if outcome == "refused" and _refused_in_a_minute(connection, actor_kind, action) >= MAX_REFUSED_A_MINUTE:
        return
    connection.execute(
        """
        insert into identity.audit (actor_kind, actor, address, action, subject, outcome, detail)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        (actor_kind, _text(actor), _text(address), action, _text(subject), outcome, Jsonb(_storable(detail or {}))),
    )


def _refused_in_a_minute(connection: Connection, actor_kind: str, action: str) -> int:
    row = connection.execute(
        """
        select count(*) from identity.audit
        where at > clock_timestamp() - interval '1 minute' and outcome = 'refused'
            and actor_kind = %s and action = %s
        """,
        (actor_kind, action),
    ).fetchone()
    return int(row[0]) if row else 0


def _storable(detail: Mapping[str, object]) -> dict[str, object]:
    return {name: _text(value) if isinstance(value, str) else value for name, value in detail.items()}


def _text(value: str | None) -> str | None:
    # PostgreSQL takes neither a NUL nor half of a surrogate pair.
    if value is None:
        return None
    return value.replace("\x00", "\ufffd").encode(errors="replace").decode()[:MAX_CHARACTERS]
