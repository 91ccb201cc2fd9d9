"""The rows of metrics, as operators ask for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.batch import Frame, Mode
from contracts.codec import encode, sha256
from contracts.metrics import CATALOGUE, METRICS, Scope
from contracts.names import HOST_TARGET, target_id
from contracts.objects import key_of
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, load
from functions.query import readings
from functions.query.handler import handler
from functions.retention import Retention
from functions.store import Store
from tests.functions.batches import AGENT, DATID, MINUTE_US, SERVER, batch, frame, now_us
from tests.functions.events import operator_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")

SERVER_ID = str(target_id(AGENT, SERVER))


def _load(store: Store, *frames: Frame) -> None:
    each = batch(frames=frames)
    digest = sha256(encode(each))
    assert load(store, [Arrival(key_of(each, digest), bytes.fromhex(digest), each)], Retention(30)) == [Loaded.NEW]


def _names(at: int, **names: str) -> Frame:
    """The names of the first relations of the database, in full."""
    columns = {"relid": [DATID + row for row in range(len(names))], "relation_name": list(names.values())}
    columns["schema_name"] = ["public"] * len(names)
    return Frame(metric="relation", target=SERVER, datid=DATID, collected_at=at, columns=columns)


def _ask(metric: str, **query: str) -> dict[str, Any]:
    scope = CATALOGUE[metric].scope if metric in CATALOGUE else Scope.CLUSTER
    target = target_id(AGENT, HOST_TARGET if scope is Scope.HOST else SERVER)
    query = {name.rstrip("_"): value for name, value in query.items()}
    return handler(
        request("GET", f"/v1/targets/{target}/metrics", {"metric": metric, **query}, claims=operator_claims()), None
    )


def _page(metric: str, **query: str) -> dict[str, Any]:
    answer = _ask(metric, **query)
    assert answer["statusCode"] == 200, answer["body"]
    page: dict[str, Any] = json.loads(answer["body"])
    assert page.keys() == {"items", "next"}
    return page


def _rows(metric: str, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _page(metric, **query)["items"]
    return found


def _instant(at_us: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_us)).isoformat()


@pytest.mark.parametrize("values", ["raw", "delta"])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_pages_of_any_size_give_every_row_once_and_in_order(store: Store, metric: Any, values: str) -> None:
    if values == "delta" and not metric.counters:
        assert problem(_ask(metric.name, values=values))[0] == 422
        return
    now = now_us()
    _load(store, *(frame(metric.name, now - minutes * MINUTE_US, 3 - minutes) for minutes in (3, 2, 1)))
    whole = _rows(metric.name, values=values)
    assert len(whole) == (9 if metric.key else 3)
    assert set(metric.names) <= whole[0].keys()
    assert ("since_at" in whole[0]) is (values == "delta")
    placing = ["collected_at", *(["datid"] if metric.scope is Scope.DATABASE else []), *metric.key]
    assert whole == sorted(whole, key=lambda row: [row[name] for name in placing])
    for limit in ("1", "2", "4"):
        collected: list[dict[str, Any]] = []
        query = {"values": values, "limit": limit}
        while page := _page(metric.name, **query):
            collected += page["items"]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert collected == whole


def test_rows_are_those_after_from_up_to_until(store: Store) -> None:
    now = now_us()
    at = [now - minutes * MINUTE_US for minutes in (3, 2, 1)]
    _load(store, *(frame("host_load", each) for each in at))
    found = _rows("host_load", from_=_instant(at[0]), until=_instant(at[1]))
    assert [datetime.fromisoformat(row["collected_at"]) for row in found] == [datetime.fromisoformat(_instant(at[1]))]


def test_the_last_hour_is_meant_unless_told_otherwise(store: Store) -> None:
    now = now_us()
    _load(store, frame("host_load", now - 61 * MINUTE_US), frame("host_load", now - 59 * MINUTE_US))
    assert len(_rows("host_load")) == 1
    assert len(_rows("host_load", from_=_instant(now - 90 * MINUTE_US))) == 2


def test_deltas_are_what_the_counters_grew_by(store: Store) -> None:
    now = now_us()
    _load(store, *(frame("host_cpu", now - (10 - step) * MINUTE_US, step * step) for step in range(4)))
    assert [row["user_us"] for row in _rows("host_cpu", values="delta")] == [None, 1, 3, 5]
    assert [row["user_us"] for row in _rows("host_cpu")] == [0, 1, 4, 9]


def test_a_relation_has_the_name_that_it_had_at_the_time(store: Store) -> None:
    now = now_us()
    stats = [frame("table_stats", now - minutes * MINUTE_US, rows=2) for minutes in (8, 6, 2)]
    _load(
        store, _names(now - 7 * MINUTE_US, a="old", b="other"), _names(now - 4 * MINUTE_US, a="new", b="other"), *stats
    )
    found = [(row["schema_name"], row["relation_name"]) for row in _rows("table_stats")]
    other = ("public", "other")
    assert found == [(None, None), (None, None), ("public", "old"), other, ("public", "new"), other]


def test_a_relation_that_is_gone_keeps_its_last_name(store: Store) -> None:
    now = now_us()
    gone = Frame(
        metric="relation",
        target=SERVER,
        datid=DATID,
        collected_at=now - 3 * MINUTE_US,
        mode=Mode.CHANGED,
        columns={"relid": []},
        gone={"relid": [DATID]},
    )
    _load(store, _names(now - 5 * MINUTE_US, a="last"), gone, frame("table_stats", now - 2 * MINUTE_US, rows=1))
    assert [row["relation_name"] for row in _rows("table_stats")] == ["last"]


def test_databases_and_indexes_have_names_too(store: Store) -> None:
    now = now_us()
    _load(
        store,
        _names(now - 3 * MINUTE_US, a="the_index"),
        frame("database", now - 3 * MINUTE_US, rows=1),
        *(frame(name, now - MINUTE_US, rows=1) for name in ("index_stats", "database_stats")),
    )
    (index,), (database,) = _rows("index_stats"), _rows("database_stats")
    assert (index["relation_name"], index["datname"], database["datname"]) == (
        "the_index",
        "datname 0 é",
        "datname 0 é",
    )


def test_rows_of_one_relation_or_one_database_can_be_asked_for(store: Store) -> None:
    _load(store, *(frame(name, now_us() - MINUTE_US) for name in ("table_stats", "index_stats", "database_stats")))
    assert [row["relid"] for row in _rows("table_stats", relid=str(DATID + 1))] == [DATID + 1]
    assert [row["indexrelid"] for row in _rows("index_stats", relid=str(DATID + 2))] == [DATID + 2]
    assert [row["datid"] for row in _rows("database_stats", datid=str(DATID + 1))] == [DATID + 1]
    assert _rows("table_stats", datid="1") == []


def test_a_page_ends_before_an_answer_is_too_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(store, frame("log_event", now_us() - MINUTE_US))
    monkeypatch.setattr(readings, "MAX_PAGE_BYTES", 10)
    first = _page("log_event")
    assert len(first["items"]) == 1
    assert len(_page("log_event", cursor=first["next"])["items"]) == 1


@pytest.mark.parametrize(
    ("metric", "query", "says"),
    [
        ("tables_stat", {}, "the nearest is 'table_stats'"),
        ("'; drop table x", {}, "is unknown"),
        ("host_load", {"values": "delta"}, "no counters"),
        ("host_load", {"values": "both"}, "values"),
        ("host_load", {"from_": "2026-01-01T00:00:00Z", "until": "2026-01-08T00:00:01Z"}, "more than 7 days apart"),
        ("host_load", {"from_": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "from: after until"),
        ("host_load", {"from_": "1700000000"}, "RFC 3339"),
        ("host_load", {"from_": "2026-01-01T00:00:00"}, "RFC 3339"),
        ("host_load", {"until": "0001-01-01T00:00:00Z"}, "between the years"),
        ("host_load", {"until": "9999-12-31T23:59:59-12:00"}, "between the years"),
        ("host_load", {"from_": "2026-13-01T00:00:00Z"}, "from"),
        ("host_load", {"datid": "5"}, "datid: host_load has no such column"),
        ("database_stats", {"relid": "5"}, "relid: database_stats is not about relations"),
        ("table_stats", {"relid": "4294967296"}, "relid"),
        ("host_load", {"limit": "1001"}, "limit"),
    ],
)
def test_what_cannot_be_asked_is_named(store: Store, metric: str, query: dict[str, str], says: str) -> None:
    status, detail = problem(_ask(metric, **query))
    assert status == 422
    assert says in detail


def test_a_metric_must_be_named() -> None:
    answer = handler(request("GET", f"/v1/targets/{SERVER_ID}/metrics", claims=operator_claims()), None)
    assert problem(answer) == (422, "query.metric: Field required")


def test_seven_days_can_be_asked_for(store: Store) -> None:
    _load(store, frame("host_load", now_us()))
    assert _rows("host_load", from_="2026-01-01T00:00:00Z", until="2026-01-08T01:00:00+01:00") == []


def test_a_cursor_of_another_metric_is_a_bad_request(store: Store) -> None:
    _load(store, *(frame(name, now_us() - MINUTE_US) for name in ("log_event", "table_stats")))
    cursor = _page("log_event", limit="1")["next"]
    assert problem(_ask("table_stats", cursor=cursor))[0] == 400


@pytest.mark.parametrize("id", ["1", str(2**63 - 1), str(2**63), "9" * 19])
@pytest.mark.parametrize("more", ["", "/metrics"])
def test_an_unknown_target_is_not_found(id: str, more: str) -> None:
    answer = handler(request("GET", f"/v1/targets/{id}{more}", {"metric": "host"}, claims=operator_claims()), None)
    assert problem(answer) == (404, f"there is no target {id}")


@pytest.mark.parametrize("id", ["-1", "x", "1" * 20, "\u0661"])
def test_what_is_no_id_of_a_target_is_not_valid(id: str) -> None:
    answer = handler(request("GET", f"/v1/targets/{id}", claims=operator_claims()), None)
    assert problem(answer)[0] == 422
