"""Agents, targets, health: what operators see at first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from contracts.batch import Batch, Status
from contracts.codec import encode, sha256
from contracts.names import target_id
from contracts.objects import key_of
from contracts.version import __version__
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, load
from functions.query.handler import handler
from functions.retention import Retention
from functions.store import Store
from infra.database.migrate import newest
from infra.standalone.embedded import EmbeddedPostgres
from tests.functions.batches import AGENT, MINUTE_US, SERVER, batch, frame, now_us, run
from tests.functions.events import operator_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")


def _load(store: Store, *batches: Batch) -> None:
    for each in batches:
        digest = sha256(encode(each))
        assert load(store, [Arrival(key_of(each, digest), bytes.fromhex(digest), each)], Retention(30)) == [Loaded.NEW]


def _get(path: str, **query: str) -> Any:
    answer = handler(request("GET", path, query or None, claims=operator_claims()), None)
    assert answer["statusCode"] == 200, answer["body"]
    return json.loads(answer["body"])


def _walk(path: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"limit": str(limit)}
    while True:
        page = _get(path, **query)
        found += page["items"]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/targets"])
def test_pages_of_any_size_give_everything_once(store: Store, path: str) -> None:
    _load(store, *(batch(agent_id=f"agent-{number}", frames=[frame("host", now_us())]) for number in range(5)))
    whole = _get(path)["items"]
    assert len(whole) == 5
    assert [_walk(path, limit) for limit in (1, 2, 5)] == [whole] * 3


def test_nothing_sent_is_nothing_listed() -> None:
    assert _get("/v1/agents") == _get("/v1/targets") == {"items": [], "next": None}


def test_the_id_of_a_target_is_a_string(store: Store) -> None:
    _load(store, batch())
    ids = {target["name"]: target["id"] for target in _get("/v1/targets")["items"]}
    assert ids == {name: str(target_id(AGENT, name)) for name in ("host", SERVER)}


def test_a_target_has_what_was_last_known_of_it(store: Store) -> None:
    now = now_us()
    older, newer = frame("cluster", now - MINUTE_US), frame("cluster", now)
    newer.columns["server_version"] = ["18.6"]
    _load(store, batch(frames=[older, newer, frame("host", now)]))
    found = {target["name"]: target for target in _get("/v1/targets")["items"]}
    assert (found[SERVER]["server_version"], found[SERVER]["hostname"]) == ("18.6", None)
    assert (found["host"]["server_version"], found["host"]["hostname"]) == (None, "hostname 0 é")
    detail = _get(f"/v1/targets/{found[SERVER]['id']}")
    assert {name: value for name, value in detail.items() if name != "runs"} == found[SERVER]


def test_a_target_has_the_last_run_of_each_collector(store: Store) -> None:
    now = now_us()
    runs = [
        run("table_stats", now - 2 * MINUTE_US, Status.OK),
        run("table_stats", now - MINUTE_US, Status.PERMISSION, "grant pg_monitor"),
        run("cluster", now - MINUTE_US),
    ]
    _load(store, batch(frames=[], runs=runs))
    found = _get(f"/v1/targets/{target_id(AGENT, SERVER)}")["runs"]
    assert [(each["collector"], each["status"], each["detail"]) for each in found] == [
        ("cluster", "ok", None),
        ("table_stats", "permission", "grant pg_monitor"),
    ]


def test_an_agent_says_which_configuration_it_obeys(store: Store) -> None:
    _load(store, batch())
    (agent,) = _get("/v1/agents")["items"]
    assert (agent["agent_id"], agent["config_state"], agent["config_version"]) == (AGENT, "default", 0)


def test_health_knows_the_schema_and_how_fresh_the_data_is(store: Store) -> None:
    assert _get("/v1/health") == {"status": "ok", "store": "ok", "schema": newest(), "last_batch_seconds": None}
    _load(store, batch(sent_at=now_us() - 10 * MINUTE_US))
    assert 600 <= _get("/v1/health")["last_batch_seconds"] < 900


def test_health_says_that_the_store_was_never_migrated(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", server.dsn())
    answer = handler(request("GET", "/v1/health"), None)
    assert problem(answer) == (503, "the store has no schema; migrate it")


def test_health_says_that_the_store_refuses(store_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", make_conninfo(store_dsn, user="nobody_known"))
    assert problem(handler(request("GET", "/v1/health"), None)) == (503, "the store is not available")


def test_anyone_may_know_the_version_and_the_description() -> None:
    assert json.loads(handler(request("GET", "/v1/version"), None)["body"]) == {"version": __version__}
    described = handler(request("GET", "/v1/openapi.json"), None)
    assert described["headers"]["Content-Type"] == "application/json"
    assert json.loads(described["body"])["info"]["version"] == __version__
