"""An agent's question: one read where nothing changed, and never an answer from before a change."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.pq import Trace
from psycopg.types.json import Jsonb

from contracts.document import VersionedDocument
from functions.config import parts
from functions.config.polled import _CURRENT, compute
from functions.store import Connection, Store
from tests.functions.config.api import PRODUCTION, begin_release, obeys, poll, save, somebody_waits, told

pytestmark = pytest.mark.usefixtures("deployed")


@contextmanager
def _messages() -> Iterator[Counter[str]]:
    """What the function says to the store in the meantime: the messages of the protocol, by their names."""
    with tempfile.TemporaryFile("w+") as file:
        connection = parts.store()._local.connection
        connection.pgconn.trace(file.fileno())
        connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        said: Counter[str] = Counter()
        try:
            yield said
        finally:
            connection.pgconn.untrace()
            file.seek(0)
            said.update(line.split("\t")[2].strip() for line in file if line.startswith("F\t"))


def test_a_304_is_one_statement_and_one_way_there_and_back() -> None:
    etag = poll()["headers"]["ETag"]
    for _ in range(10):  # until the driver has prepared it
        poll(if_none_match=etag)
    with _messages() as said:
        for _ in range(20):
            assert poll(if_none_match=etag)["statusCode"] == 304
    assert said == {"Bind": 20, "Describe": 20, "Execute": 20, "Sync": 20}


def test_a_document_that_was_computed_is_one_statement_too() -> None:
    for _ in range(10):
        poll()
    with _messages() as said:
        assert poll()["statusCode"] == 200
    assert said["Execute"] == said["Sync"] == 1
    assert said["Query"] == 0


def test_a_304_reads_one_row_by_an_index_however_many_agents_there_are(connection: Connection) -> None:
    etag = poll()["headers"]["ETag"]
    connection.execute(
        "insert into store.effective select 'a' || n, 1, 0, %s from generate_series(1, 20000) n", (etag,)
    )
    connection.execute("analyze store.effective, store.effective_body")
    asked = {"agent": "a77", "any": False, "tags": [etag]}
    row = connection.execute("explain (analyze, format json) " + _CURRENT, asked).fetchone()
    assert row is not None
    nodes = {node.get("Relation Name"): node for node in _nodes(row[0][0]["Plan"])}
    assert nodes["effective"]["Index Name"] == "effective_pkey"
    assert nodes["effective"]["Actual Rows"] == 1
    assert "(never executed)" in str(nodes) or nodes["effective_body"]["Actual Loops"] == 0
    assert nodes["generation"]["Actual Rows"] == 1


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def test_two_agents_with_the_same_document_share_it(connection: Connection) -> None:
    tags = {poll(f"db-{number}")["headers"]["ETag"] for number in range(3)}
    assert connection.execute("select etag from store.effective_body").fetchall() == [(tag,) for tag in tags]
    assert len(tags) == 1


def test_a_document_that_is_lost_is_computed_once_more(connection: Connection) -> None:
    expected = obeys()
    etag = poll()["headers"]["ETag"]
    connection.execute("delete from store.effective_body")
    assert poll(if_none_match=etag)["statusCode"] == 304
    assert obeys() == expected
    assert connection.execute("select count(*) from store.effective_body").fetchone() == (1,)


def test_a_change_is_seen_when_it_is_committed_and_not_before(connection: Connection) -> None:
    save("fleet", {"upload_every_seconds": 1})
    assert obeys().document.upload_every_seconds == 1
    with connection.transaction():
        connection.execute("update store.document set body = '{\"upload_every_seconds\": 2}'")
        assert obeys().document.upload_every_seconds == 1
        assert obeys("db-2").document.upload_every_seconds == 1
    assert obeys().document.upload_every_seconds == 2
    assert obeys("db-2").document.upload_every_seconds == 2


def test_what_changes_while_an_answer_is_computed_is_in_the_next(store: Store) -> None:
    save("fleet", {"upload_every_seconds": 1})
    with store.transaction() as computing:
        assert compute(computing, "agent-1").document.upload_every_seconds == 1
        save("fleet", {"upload_every_seconds": 2})
    assert obeys().document.upload_every_seconds == 2


@pytest.mark.parametrize("first", [False, True], ids=["computed before", "never computed"])
@pytest.mark.parametrize("change", ["labels", "document", "enrolment"])
def test_what_changes_for_the_agent_while_its_answer_is_computed_is_in_the_next(
    store: Store, connection: Connection, change: str, first: bool
) -> None:
    save("group:web", {"upload_every_seconds": 2}, group=PRODUCTION)
    save("fleet", {"upload_every_seconds": 1})
    connection.execute(
        """
        insert into identity.enrolment (id, token_sha256, created_at, created_by, expires_at, uses)
        values ('e', 'x', now(), 'ann', now(), 1);
        insert into identity.agent (agent_id, enrolled_at, enrolment_id) values ('agent-1', now(), 'e');
        """
    )
    if not first:
        obeys()

    def change_it() -> None:
        match change:
            case "labels":
                told("PUT", "/v1/agents/agent-1/labels", {"labels": PRODUCTION["selector"]})
            case "document":
                save("agent:agent-1", {"upload_every_seconds": 2})
            case _:
                with parts.store().transaction() as enrolling:
                    enrolling.execute("update identity.agent set labels = %s", (Jsonb(PRODUCTION["selector"]),))
        parts.store().close()

    with ThreadPoolExecutor(1) as thread:
        with store.transaction() as computing:
            assert compute(computing, "agent-1").document.upload_every_seconds == 1
            changing = thread.submit(change_it)
            somebody_waits(connection)
            assert not changing.done()
        changing.result(30)
    assert obeys().document.upload_every_seconds == 2


def test_who_computes_waits_for_a_change_for_the_agent(store: Store, connection: Connection) -> None:
    save("group:web", {"upload_every_seconds": 2}, group=PRODUCTION)

    def ask_meanwhile() -> VersionedDocument:
        try:
            return obeys()
        finally:
            parts.store().close()

    with ThreadPoolExecutor(1) as thread:
        with store.transaction() as changing:
            changing.execute("insert into store.agent_labels values ('agent-1', %s)", (Jsonb(PRODUCTION["selector"]),))
            asking = thread.submit(ask_meanwhile)
            somebody_waits(connection)
        assert asking.result(30).document.upload_every_seconds == 2


def test_a_change_for_one_agent_costs_the_others_nothing(connection: Connection) -> None:
    obeys("db-1")
    obeys("db-2")
    save("agent:db-1", {"upload_every_seconds": 1})
    told("PUT", "/v1/agents/db-1/labels", {"labels": {"tier": "gold"}})
    good = "select e.agent_id from store.effective e join store.generation using (generation)"
    assert connection.execute(good).fetchall() == [("db-2",)]
    assert connection.execute("select generation from store.generation").fetchone() == (1,)


def test_a_draft_costs_nobody_anything(connection: Connection) -> None:
    save("fleet", {}, activate=False)
    save("group:web", {}, group=PRODUCTION, activate=False)
    assert connection.execute("select generation from store.generation").fetchone() == (1,)


def test_a_release_learns_whom_it_was_given_to_and_when_first(connection: Connection) -> None:
    save("fleet", {})
    save("fleet", {"upload_every_seconds": 1}, activate=False)
    told_apart = {"db-1": {"canary": "true"}, "db-2": {}}
    for name, labels in told_apart.items():
        obeys(name)
        told("PUT", f"/v1/agents/{name}/labels", {"labels": labels})
    number = begin_release(connection, "fleet", 2)
    for _ in range(2):
        assert [obeys(name).document.upload_every_seconds for name in told_apart] == [1, 60]
    asked = "select release_id, agent_id, stage from store.release_agent order by agent_id"
    assert connection.execute(asked).fetchall() == [(number, "db-1", 0)]
    given_at = connection.execute("select given_at from store.release_agent").fetchall()
    connection.execute("update store.release set stage = 1")
    assert [obeys(name).document.upload_every_seconds for name in told_apart] == [1, 1]
    assert connection.execute(asked).fetchall() == [(number, "db-1", 0), (number, "db-2", 1)]
    assert connection.execute("select given_at from store.release_agent where stage = 0").fetchall() == given_at
    connection.execute("update store.release set state = 'halted'")
    assert [obeys(name).document.upload_every_seconds for name in told_apart] == [60, 60]


def test_an_agent_that_a_release_takes_out_of_a_group_counts_to_it(connection: Connection) -> None:
    save("group:web", {"upload_every_seconds": 1}, group=PRODUCTION)
    save("group:web", {"upload_every_seconds": 2}, group={"selector": {"tier": "gold"}}, activate=False)
    obeys()
    told("PUT", "/v1/agents/agent-1/labels", {"labels": PRODUCTION["selector"]})
    assert obeys().document.upload_every_seconds == 1
    begin_release(connection, "group:web", 2, stages=("100%",))
    assert obeys() == VersionedDocument()
    assert connection.execute("select agent_id from store.release_agent").fetchall() == [("agent-1",)]


def test_measuring_a_release_holds_up_no_agent(store: Store, connection: Connection) -> None:
    """Its engine locks with `for no key update`; that is what the foreign key of release_agent gets along with."""
    save("fleet", {}, activate=False)
    begin_release(connection, "fleet", 1, stages=("100%",))
    with store.transaction() as measuring:
        measuring.execute("select from store.release for no key update skip locked")
        assert obeys().version == 1
