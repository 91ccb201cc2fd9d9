"""Documents in their scopes: saved whole or not at all, and never changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.document import Document
from functions.config.documents import MAX_BYTES
from functions.config.handler import handler
from functions.store import Connection
from tests.functions.config.api import PRODUCTION, ask, obeys, save, told
from tests.functions.events import agent_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")

FLEET = "/v1/documents/fleet"


def test_what_is_saved_is_live_and_says_who_when_and_why() -> None:
    saved = save("fleet", {"upload_every_seconds": 30}, comment="quicker")
    canonical = b'{"upload_every_seconds":30}'
    assert saved["sha256"] == hashlib.sha256(canonical).hexdigest()
    assert (saved["scope"], saved["version"], saved["author"], saved["comment"]) == ("fleet", 1, "ann", "quicker")
    assert saved["live"]
    assert saved["created_at"] == saved["activated_at"]
    assert saved["document"] == {"upload_every_seconds": 30}
    assert saved["group"] is None
    assert told("GET", FLEET) == saved == told("GET", f"{FLEET}/versions/1")
    assert obeys().version == saved["revision"]


def test_the_order_of_keys_makes_no_other_document() -> None:
    one = save("fleet", {"preset": "minimal", "budget": {"cpu_share": 0.1, "database_share": None}})
    other = save("fleet", {"budget": {"database_share": None, "cpu_share": 0.1}, "preset": "minimal"})
    assert one["sha256"] == other["sha256"]
    assert other["version"] == 2


def test_versions_stay_as_they_were_and_are_listed_newest_first() -> None:
    saved = [save("fleet", {"upload_every_seconds": seconds}) for seconds in (1, 2, 3)]
    expected = [{**each, "live": each["version"] == 3} for each in reversed(saved)]
    assert told("GET", f"{FLEET}/versions")["items"] == expected
    first = told("GET", f"{FLEET}/versions", query={"limit": "2"})
    rest = told("GET", f"{FLEET}/versions", query={"limit": "2", "cursor": first["next"]})
    assert (first["items"] + rest["items"], rest["next"]) == (expected, None)


def test_a_draft_is_nobodys_until_it_is_released() -> None:
    save("fleet", {"upload_every_seconds": 30})
    before = obeys()
    draft = save("fleet", {"upload_every_seconds": 1}, activate=False)
    assert (draft["live"], draft["activated_at"]) == (False, None)
    assert obeys() == before
    assert told("GET", FLEET) == draft


def test_the_list_has_of_each_scope_the_newest_and_the_live_version() -> None:
    save("fleet", {})
    save("fleet", {"preset": "minimal"})
    save("fleet", {"preset": "rds"}, activate=False)
    save("fleet", {"preset": "exhaustive"}, activate=False)
    save("group:web", {}, group=PRODUCTION)
    save("agent:db-1", {}, activate=False)
    expected = [("agent:db-1", 1, False), ("fleet", 4, False), ("fleet", 2, True), ("group:web", 1, True)]
    found: list[dict[str, Any]] = []
    query = {"limit": "1"}
    while True:
        page = told("GET", "/v1/documents", query=query)
        found += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert [(each["scope"], each["version"], each["live"]) for each in found] == expected
    assert told("GET", "/v1/documents")["items"] == found


def test_everything_that_is_wrong_is_named_at_once_and_nothing_is_saved() -> None:
    wrong = {"preset": "standrd", "uplod_every_seconds": 5, "metrics": {"activty": {}}, "budget": {"cpu_shar": 1}}
    status, detail = problem(ask("PUT", FLEET, {"document": wrong}))
    assert status == 422
    assert "preset: 'standrd' is not one of minimal, standard" in detail
    assert "uplod_every_seconds: there is no such key; did you mean upload_every_seconds?" in detail
    assert "metrics.activty: there is no such metric; did you mean activity?" in detail
    assert "budget.cpu_shar: there is no such key; did you mean cpu_share?" in detail
    value = {"upload_every_seconds": 0, "budget": {"cpu_share": 2}}
    status, detail = problem(ask("PUT", FLEET, {"document": value}))
    assert status == 422
    assert "upload_every_seconds: Input should be greater than or equal to 1, not 0" in detail
    assert "budget.cpu_share: Input should be less than or equal to 1, not 2" in detail
    assert problem(ask("GET", FLEET))[0] == 404


def test_a_document_can_be_looked_at_without_being_saved() -> None:
    assert told("POST", "/v1/documents/validate", {"document": {"preset": "minimal"}}) == {"ok": True, "faults": []}
    found = told("POST", "/v1/documents/validate", {"document": {"preset": "x", "y": 1}})
    assert not found["ok"]
    assert {each["key"] for each in found["faults"]} == {"preset", "y"}
    assert told("GET", "/v1/documents")["items"] == []


@pytest.mark.parametrize(
    "document",
    [
        {"databases": {"include": ["a\x00b"]}},
        {"databases": {"exclude": ["\ud800"]}},
        {"budget": {"cpu_share": float("nan")}},
        {"budget": {"cpu_share": float("inf")}},
        {"databases": {"exclude": [f"{number:0100}" for number in range(MAX_BYTES // 100)]}},
    ],
)
def test_what_the_store_cannot_keep_is_refused_with_its_reason(document: dict[str, Any]) -> None:
    assert problem(ask("PUT", FLEET, {"document": document}))[0] == 422
    assert not told("POST", "/v1/documents/validate", {"document": document})["ok"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_ALMOST = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(Document.model_fields, _JSON),
        "pull_every_seconds": st.integers(1, 86400),
        "databases": st.fixed_dictionaries({}, optional={"include": st.lists(st.text(max_size=4)), "exclude": _JSON}),
        "budget": st.fixed_dictionaries({}, optional={"cpu_share": st.none() | st.floats()}),
        "metrics": st.dictionaries(st.sampled_from(["activity", "locks", "x"]), _JSON),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(_ALMOST | _JSON)
def test_whatever_is_sent_is_kept_as_it_is_or_refused(document: Any) -> None:
    answer = ask("PUT", "/v1/documents/agent:agent-1", {"document": document}, {"if-match": "*"})
    if answer["statusCode"] == 412:
        answer = ask("PUT", "/v1/documents/agent:agent-1", {"document": document})
    assert answer["statusCode"] in {200, 422}, answer["body"]
    if answer["statusCode"] == 200:
        assert json.loads(answer["body"])["document"] == document
        assert obeys().version == json.loads(answer["body"])["revision"]


def test_a_group_says_whom_it_has_and_keeps_it_until_told_otherwise() -> None:
    status, detail = problem(ask("PUT", "/v1/documents/group:web", {"document": {}}))
    assert status == 422
    assert 'group: a group needs its selector, such as {"selector"' in detail
    assert save("group:web", {}, group={**PRODUCTION, "priority": 7})["group"] == {**PRODUCTION, "priority": 7}
    assert save("group:web", {"preset": "rds"})["group"] == {**PRODUCTION, "priority": 7}
    other = {"selector": {"tier": "gold"}}
    assert save("group:web", {}, group=other)["group"] == {**other, "priority": 100}


@pytest.mark.parametrize("scope", ["fleet", "agent:db-1"])
def test_only_a_group_selects(scope: str) -> None:
    status, detail = problem(ask("PUT", f"/v1/documents/{scope}", {"document": {}, "group": PRODUCTION}))
    assert (status, "group: only a scope group:NAME selects" in detail) == (422, True)


@pytest.mark.parametrize("scope", ["flet", "group:", "agent:A", "group:a b", "agent:x/../y", "fleet:x"])
def test_a_scope_is_the_fleet_a_group_or_an_agent(scope: str) -> None:
    assert ask("PUT", f"/v1/documents/{scope}", {"document": {}})["statusCode"] in {404, 422}


def test_a_scope_may_come_with_percent_signs() -> None:
    saved = save("group:web", {}, group=PRODUCTION)
    assert told("GET", "/v1/documents/group%3Aweb") == saved


def test_a_difference_is_told_key_by_key() -> None:
    save("group:web", {"preset": "minimal", "databases": {"include": ["a"]}}, group=PRODUCTION)
    other = {"selector": {"environment": "test"}, "priority": 100}
    save("group:web", {"databases": {"include": ["a", "b"]}, "budget": {"cpu_share": None}}, group=other)
    found = told("GET", "/v1/documents/group:web/diff")
    assert (found["scope"], found["from_version"], found["to_version"]) == ("group:web", 1, 2)
    assert found["changes"] == [
        {"key": "budget.cpu_share", "before": None, "after": None},
        {"key": "databases.include", "before": ["a"], "after": ["a", "b"]},
        {"key": "group.selector.environment", "before": "production", "after": "test"},
        {"key": "preset", "before": "minimal", "after": None},
    ]
    back = told("GET", "/v1/documents/group:web/diff", query={"from": "2", "to": "1"})
    assert [(each["before"], each["after"]) for each in back["changes"]] == [
        (each["after"], each["before"]) for each in found["changes"]
    ]
    assert told("GET", "/v1/documents/group:web/diff", query={"from": "2", "to": "2"})["changes"] == []


@pytest.mark.parametrize(
    ("query", "between"),
    [
        ({}, (2, 4)),  # live is 2, the newest is a draft
        ({"to": "2"}, (1, 2)),
        ({"to": "1"}, (2, 1)),
        ({"from": "3"}, (3, 4)),
        ({"from": "0", "to": "1"}, (0, 1)),
    ],
)
def test_a_difference_is_from_what_is_live_unless_told_otherwise(
    query: dict[str, str], between: tuple[int, int]
) -> None:
    for number in range(4):
        save("fleet", {"upload_every_seconds": number + 1}, activate=number < 2)
    found = told("GET", f"{FLEET}/diff", query=query)
    assert (found["from_version"], found["to_version"]) == between


def test_the_first_version_differs_from_nothing() -> None:
    save("fleet", {"preset": "minimal"})
    found = told("GET", f"{FLEET}/diff")
    assert (found["from_version"], found["to_version"]) == (0, 1)
    assert found["changes"] == [{"key": "preset", "before": None, "after": "minimal"}]


@pytest.mark.parametrize("path", ["", "/versions", "/versions/1", "/diff"])
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert problem(ask("GET", FLEET + path)) == (404, "fleet has no version yet")


@pytest.mark.parametrize("path", ["/v1/documents", f"{FLEET}/versions"])
def test_a_cursor_of_elsewhere_is_refused(path: str) -> None:
    status, detail = problem(ask("GET", path, query={"cursor": "x"}))
    assert (status, "cursor: " in detail) == (400, True)


def test_saving_and_taking_back_stand_in_the_audit_log(connection: Connection) -> None:
    first = save("fleet", {})
    save("fleet", {}, activate=False)
    told("POST", f"{FLEET}/rollback", {"version": 1}, {"if-match": '"2"'})
    problem(ask("PUT", FLEET, {"document": {}}))
    found = connection.execute(
        "select actor_kind, actor, address, action, subject, outcome, detail from identity.audit order by id"
    ).fetchall()
    assert [row[:6] for row in found] == [
        ("operator", "ann", "127.0.0.1", action, "fleet", "done")
        for action in ("document.save", "document.save", "document.rollback")
    ]
    assert [row[6] for row in found] == [
        {"version": 1, "activated": True, "sha256": first["sha256"]},
        {"version": 2, "activated": False, "sha256": first["sha256"]},
        {"version": 3, "activated": True, "sha256": first["sha256"], "of": 1},
    ]


def test_an_agent_is_no_author() -> None:
    body = json.dumps({"document": {}}).encode()
    headers = {"content-type": "application/json"}
    event = request("PUT", FLEET, claims=agent_claims(), headers=headers, body=body)
    assert problem(handler(event, None))[0] == 403
