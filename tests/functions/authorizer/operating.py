"""Operators in a test: cheap passwords that are counted, accounts, and requests to the door."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from argon2 import PasswordHasher
from pydantic import SecretStr

from contracts.claims import AgentClaims, OperatorClaims
from contracts.identity import LoginAsked, SessionGranted, UserAsked
from contracts.names import RoleName
from functions.authorizer import door
from functions.authorizer.keys import Keys, generate
from functions.authorizer.logins import login
from functions.authorizer.operators import Actor, create
from functions.authorizer.passwords import Passwords
from functions.store import Connection, Store
from tests.functions.events import request

#: What tests log in with: passwords of nobody.
PASSWORD, ANOTHER = "correct horse battery", "another horse, another battery"
HERE, ELSEWHERE = "192.0.2.1", "203.0.113.9"
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
KEYS = Keys((generate(),))
COMMAND = Actor("command", "root")


class Counting(PasswordHasher):
    """argon2id at its cheapest, that counts how often it verified."""

    def __init__(self, time_cost: int = 1) -> None:
        super().__init__(time_cost=time_cost, memory_cost=8, parallelism=1)
        self.verified: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
        self.verified.append(str(hash).rsplit("$", 2)[0])
        return super().verify(hash, password)


@dataclass
class Operators:
    """A store with operators in it."""

    store: Store
    hasher: Counting = field(default_factory=Counting)
    passwords: Passwords = field(init=False)

    def __post_init__(self) -> None:
        self.passwords = Passwords(self.hasher)

    def add(self, name: str, role: RoleName = "viewer", password: str = PASSWORD) -> None:
        asked = UserAsked(name=name, role=role, password=SecretStr(password))
        create(self.store, self.passwords, asked, COMMAND, NOW)

    def login(
        self, name: str = "ann", password: str = PASSWORD, address: str = HERE, now: datetime = NOW
    ) -> SessionGranted:
        asked = LoginAsked(name=name, password=SecretStr(password))
        return login(self.store, self.passwords, KEYS, asked, address, now)


def audited(connection: Connection, *actions: str) -> list[tuple[Any, ...]]:
    """The log, the oldest first: kind, actor, address, action, subject, outcome, reason."""
    rows = connection.execute(
        """
        select actor_kind, actor, address, action, subject, outcome, detail ->> 'reason' from identity.audit
        where %s::text[] = '{}' or action = any(%s) order by id
        """,
        (list(actions), list(actions)),
    )
    return rows.fetchall()


def ask(
    method: str,
    path: str,
    body: object = None,
    *,
    claims: AgentClaims | OperatorClaims | None = None,
    address: str = HERE,
    query: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What the door answers."""
    data = None if body is None else json.dumps(body).encode()
    event = request(method, path, query, claims=claims, headers={"content-type": "application/json"}, body=data)
    event["requestContext"]["http"]["sourceIp"] = address
    return door.handler(event, None)
