"""What operators read is what was loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.codec import encode, sha256
from contracts.names import target_id
from contracts.objects import key_of
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, load
from functions.query.handler import handler
from functions.retention import Retention
from functions.store import Store
from tests.functions.batches import AGENT, SERVER, batch
from tests.functions.events import operator_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")

TARGET = str(target_id(AGENT, SERVER))


@pytest.fixture
def loaded(store: Store) -> None:
    for seq in range(3):
        each = batch(seq)
        digest = sha256(encode(each))
        assert load(store, [Arrival(key_of(each, digest), bytes.fromhex(digest), each)], Retention(30)) == [Loaded.NEW]


def ask(path: str, **query: str) -> dict[str, Any]:
    return handler(request("GET", path, query or None, claims=operator_claims()), None)


def items(path: str, **query: str) -> list[dict[str, Any]]:
    answer = ask(path, **query)
    assert answer["statusCode"] == 200, answer["body"]
    found: list[dict[str, Any]] = json.loads(answer["body"])["items"]
    return found


@pytest.mark.usefixtures("loaded")
def test_agents_and_targets_that_sent_something_are_listed() -> None:
    assert [agent["agent_id"] for agent in items("/v1/agents")] == [AGENT]
    assert {target["name"] for target in items("/v1/targets")} == {"host", SERVER}


@pytest.mark.usefixtures("loaded")
def test_pages_follow_one_another_and_have_everything_once() -> None:
    first = json.loads(ask("/v1/targets", limit="1")["body"])
    second = json.loads(ask("/v1/targets", limit="1", cursor=first["next"])["body"])
    assert {each["name"] for page in (first, second) for each in page["items"]} == {"host", SERVER}


@pytest.mark.usefixtures("loaded")
def test_a_target_tells_its_runs() -> None:
    answer = ask(f"/v1/targets/{TARGET}")
    assert answer["statusCode"] == 200
    assert "table_stats" in answer["body"]


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("values", ["raw", "delta"])
def test_a_metric_s_rows_have_its_columns_and_names(values: str) -> None:
    rows = items(f"/v1/targets/{TARGET}/metrics", metric="table_stats", values=values)
    assert len(rows) == 9
    assert {"relid", "n_tup_ins", "relation_name"} <= rows[0].keys()


@pytest.mark.usefixtures("loaded")
def test_what_is_asked_wrongly_is_said() -> None:
    status, detail = problem(ask(f"/v1/targets/{TARGET}/metrics", metric="table_stat"))
    assert (status, "table_stats" in detail) == (422, True)
    assert problem(ask("/v1/targets", cursor="nonsense"))[0] == 400
    assert problem(ask("/v1/targets/1"))[0] == 404
    assert problem(ask("/v1/targets", limit="0"))[0] == 422


def test_health_says_that_the_store_answers() -> None:
    answer = ask("/v1/health")
    assert (answer["statusCode"], json.loads(answer["body"])["store"]) == (200, "ok")


def test_health_says_that_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=/nowhere user=secret-name")
    status, detail = problem(ask("/v1/health"))
    assert (status, "secret-name" in detail) == (503, False)
