"""What was computed for agents is forgotten when they are gone, and a document when nobody has it any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from functions.config.polled import poll
from functions.maintenance.configuration import forget
from functions.store import Connection, Store

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def _see(connection: Connection, agent_id: str, days_ago: float) -> None:
    at = NOW - timedelta(days=days_ago)
    connection.execute(
        "insert into store.agent values (%s, %s, %s, '1', 0, null, 'applied', null, 0)", (agent_id, at, at)
    )


def test_only_what_somebody_has_stays(store: Store, connection: Connection) -> None:
    for number, days_ago in enumerate((0, 29.9, 30.1)):
        _see(connection, f"db-{number}", days_ago)
        poll(store, f"db-{number}", None)
    poll(store, "never-seen", None)
    connection.execute("insert into store.effective_body values ('\"1-x\"', '{}'), ('\"2-x\"', '{}')")
    done = forget(store, NOW)
    assert (done.agents, done.bodies, done.left) == (2, 2, 1)
    found = connection.execute("select agent_id from store.effective order by agent_id").fetchall()
    assert found == [("db-0",), ("db-1",)]
    assert forget(store, NOW) == type(done)(0, 0, 1)


def test_who_comes_back_is_answered_as_before(store: Store, connection: Connection) -> None:
    _see(connection, "db-1", 31)
    before = poll(store, "db-1", None)
    assert forget(store, NOW).left == 0
    assert poll(store, "db-1", before.etag) == type(before)(before.etag, None)
    assert poll(store, "db-1", None) == before


def test_a_document_that_goes_while_an_agent_is_given_it_is_computed_once_more(
    store: Store, connection: Connection
) -> None:
    before = poll(store, "gone", None)
    _see(connection, "db-1", 0)
    with connection.transaction():
        connection.execute("insert into store.effective values ('db-1', 1, 0, %s)", (before.etag,))
        assert forget(store, NOW).bodies == 1
    assert poll(store, "db-1", before.etag).body is None
    assert poll(store, "db-1", None) == before
