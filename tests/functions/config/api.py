"""The function as agents and operators reach it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from contracts.document import VersionedDocument
from functions.config.handler import handler
from functions.store import Connection
from tests.functions.events import agent_claims, operator_claims, request

PRODUCTION = {"selector": {"environment": "production"}, "priority": 100}


def ask(
    method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, query: dict[str, str] | None = None
) -> Any:
    """What an operator is answered, as it is."""
    data = None if body is None else json.dumps(body).encode()
    given = {"content-type": "application/json", **(headers or {})}
    event = request(method, path, query, claims=operator_claims("operator"), headers=given, body=data)
    return handler(event, None)


def told(
    method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, query: dict[str, str] | None = None
) -> Any:
    """What an operator is told who is not refused."""
    answer = ask(method, path, body, headers, query)
    assert answer["statusCode"] == 200, answer["body"]
    return json.loads(answer["body"])


def save(scope: str, document: dict[str, Any], **more: Any) -> Any:
    """Save over whatever there is."""
    last = ask("GET", f"/v1/documents/{scope}")
    headers = {"if-match": last["headers"]["ETag"]} if last["statusCode"] == 200 else {"if-none-match": "*"}
    return told("PUT", f"/v1/documents/{scope}", {"document": document, **more}, headers)


def poll(agent_id: str = "agent-1", if_none_match: str | None = None) -> Any:
    """What an agent is answered, as it is."""
    headers = {} if if_none_match is None else {"if-none-match": if_none_match}
    return handler(request("GET", "/v1/config", claims=agent_claims(agent_id), headers=headers), None)


def obeys(agent_id: str = "agent-1") -> VersionedDocument:
    """What an agent is to obey."""
    answer = poll(agent_id)
    assert answer["statusCode"] == 200, answer["body"]
    return VersionedDocument.model_validate_json(answer["body"])


def begin_release(
    connection: Connection,
    scope: str,
    to_version: int,
    state: str = "running",
    stages: Sequence[str] = ("canary", "100%"),
    stage: int = 0,
) -> int:
    """A release as its engine would have it in the store."""
    row = connection.execute(
        """
        insert into store.release
            (scope, from_version, to_version, stages, stage, bake_seconds, gates, state, created_by)
        values (%s, 0, %s, %s, %s, 60, '{}', %s, 'ann')
        returning id
        """,
        (scope, to_version, list(stages), stage, state),
    ).fetchone()
    assert row is not None
    return int(row[0])


def somebody_waits(connection: Connection) -> None:
    """Returns once a session waits for a lock of ours."""
    deadline = time.monotonic() + 30
    waiting = """
        select exists (
            select from pg_locks l join pg_database d on d.oid = l.database
            where l.locktype = 'advisory' and not l.granted and d.datname = current_database()
        )
    """
    while connection.execute(waiting).fetchone() != (True,):
        assert time.monotonic() < deadline
