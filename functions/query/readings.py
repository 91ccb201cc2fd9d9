"""Reads a page of one metric's rows."""

from __future__ import annotations

from typing import Any

from psycopg.rows import DictRow, dict_row
from pydantic import AwareDatetime, StrictBool, TypeAdapter

from contracts.metrics import Type
from functions.pages import Bigint, Oid, Text, decode, encode
from functions.query.asked import Asked
from functions.query.statement import statement
from functions.store import Store

#: An answer of a function has at most 6 MB; a page ends before that, wherever its rows are wide.
MAX_PAGE_BYTES = 4_000_000

_KEY_TYPES: dict[Type, Any] = {
    Type.BIGINT: Bigint,
    Type.BOOLEAN: StrictBool,
    Type.OID: Oid,
    Type.TEXT: Text,
    Type.TIMESTAMP: AwareDatetime,
}

_ROW = TypeAdapter(dict[str, Any])


def read(store: Store, asked: Asked, limit: int, cursor: str | None) -> str:
    """One page as JSON: `{"items": [...], "next": ...}`.

    Raises:
        CursorError: the cursor is not of this route, or of another metric.
        StoreUnavailableError: try again later.
    """
    after = decode(cursor, *(_KEY_TYPES[type_] for _, type_ in asked.order)) if cursor else None
    parameters = {
        "target": asked.target_id,
        "from": asked.from_at,
        "until": asked.until_at,
        "datid": asked.datid,
        "relid": asked.relid,
        "limit": limit + 1,
        **{f"after_{index}": value for index, value in enumerate(after or ())},
    }
    with store.transaction() as connection, connection.cursor(row_factory=dict_row) as reader:
        rows = reader.execute(statement(asked, following=after is not None), parameters).fetchall()
    return _page(rows, limit, tuple(name for name, _ in asked.order))


def exists(store: Store, target_id: int) -> bool:
    """Whether there is such a target.

    Raises:
        StoreUnavailableError: try again later.
    """
    with store.transaction() as connection:
        return bool(connection.execute("select 1 from store.target where target_id = %s", (target_id,)).fetchone())


def _page(rows: list[DictRow], limit: int, order: tuple[str, ...]) -> str:
    items: list[bytes] = []
    size = 0
    for row in rows[:limit]:
        item = _ROW.dump_json(row)
        size += len(item)
        if items and size > MAX_PAGE_BYTES:
            break
        items.append(item)
    last = rows[len(items) - 1] if len(items) < len(rows) else None
    following = encode(tuple(last[name] for name in order)) if last else None
    return f'{{"items":[{b",".join(items).decode()}],"next":{_string(following)}}}'


def _string(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'
