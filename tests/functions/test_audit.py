"""Whatever a stranger sends can be told in the audit log."""

from __future__ import annotations

import pytest

from functions.audit import MAX_CHARACTERS, MAX_REFUSED_A_MINUTE, Actor, record
from functions.store import Connection, Store


def test_an_entry_says_who_did_what_to_whom(connection: Connection) -> None:
    record(
        connection,
        actor_kind="operator",
        actor="ann",
        address="::1",
        action="agent.revoke",
        subject="db-1",
        detail={"reason": "stolen", "certificates": 2},
    )
    found = connection.execute(
        "select actor_kind, actor, address, action, subject, outcome, detail from identity.audit"
    )
    assert found.fetchall() == [
        ("operator", "ann", "::1", "agent.revoke", "db-1", "done", {"reason": "stolen", "certificates": 2})
    ]


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "é" * 10_000, "'; drop table identity.audit; --"])
def test_any_name_can_be_written(connection: Connection, name: str) -> None:
    record(
        connection,
        actor_kind="nobody",
        actor=name,
        address=None,
        action="login",
        outcome="refused",
        detail={"name": name},
    )
    ((actor, detail),) = connection.execute("select actor, detail from identity.audit").fetchall()
    assert len(actor) <= MAX_CHARACTERS
    assert detail == {"name": actor}


def test_what_is_rolled_back_was_not_done(store: Store, connection: Connection) -> None:
    def fail() -> None:
        with store.transaction() as begun:
            record(begun, actor_kind="nobody", actor=None, address=None, action="enrol")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert connection.execute("select count(*) from identity.audit").fetchone() == (0,)


def _refuse(connection: Connection, actor_kind: Actor) -> None:
    record(connection, actor_kind=actor_kind, actor=None, address="::1", action="login", outcome="refused")


def _entries(connection: Connection) -> int:
    row = connection.execute("select count(*) from identity.audit").fetchone()
    assert row is not None
    return int(row[0])


def test_strangers_do_not_fill_the_store(connection: Connection) -> None:
    for _ in range(MAX_REFUSED_A_MINUTE + 5):
        _refuse(connection, "nobody")
    assert _entries(connection) == MAX_REFUSED_A_MINUTE
    _refuse(connection, "operator")
    record(connection, actor_kind="nobody", actor=None, address="::1", action="login")
    assert _entries(connection) == MAX_REFUSED_A_MINUTE + 2
    connection.execute("update identity.audit set at = at - interval '1 minute'")
    _refuse(connection, "nobody")
    assert _entries(connection) == MAX_REFUSED_A_MINUTE + 3


def test_a_flood_of_one_thing_hides_nothing_of_another(connection: Connection) -> None:
    for _ in range(MAX_REFUSED_A_MINUTE + 1):
        record(connection, actor_kind="nobody", actor=None, address="::1", action="agent.enrol", outcome="refused")
    _refuse(connection, "nobody")
    assert _entries(connection) == MAX_REFUSED_A_MINUTE + 1
