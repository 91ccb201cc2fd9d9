"""What operators are shown of agents: what they are to obey, why, and whether they do; and labels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.document import Document
from functions.config.answer import answer
from functions.config.fleet import Reported, silent_after, state
from functions.store import Connection
from tests.functions.config.api import PRODUCTION, ask, begin_release, obeys, poll, save, told
from tests.functions.events import problem

pytestmark = pytest.mark.usefixtures("deployed")

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _report(
    connection: Connection, agent_id: str, etag: str | None, state: str = "applied", reason: str | None = None
) -> None:
    connection.execute(
        "insert into store.agent values (%s, now(), now(), '1', 7, %s, %s, %s, 0)", (agent_id, etag, state, reason)
    )


def _of(agent_id: str) -> Any:
    (found,) = (each for each in told("GET", "/v1/configuration")["items"] if each["agent_id"] == agent_id)
    return found


def _said(seconds: float, etag: str | None, state: str = "applied") -> Reported:
    heard_at = NOW - timedelta(seconds=seconds)
    return Reported("db-1", heard_at + timedelta(days=1), heard_at, 7, etag, state, None)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (None, "unknown"),
        (_said(180, answer([]).etag), "current"),
        (_said(181, answer([]).etag), "silent"),
        (_said(181, answer([]).etag, "rejected"), "silent"),
        (_said(0, None, "default"), "behind"),
        (_said(0, '"7-x"'), "behind"),
        (_said(0, '"7-x"', "rejected"), "behind"),  # what it rejected is no longer what it is to obey
        (_said(0, answer([]).etag, "rejected"), "rejected"),
        (_said(-60, answer([]).etag), "current"),
    ],
)
def test_how_an_agent_stands(reported: Reported | None, expected: str) -> None:
    assert state(answer([]), reported, NOW) == expected


def test_an_agent_is_silent_that_has_missed_three_uploads_and_three_minutes() -> None:
    assert silent_after(Document(upload_every_seconds=1)) == timedelta(minutes=3)
    assert silent_after(Document(upload_every_seconds=3600)) == timedelta(hours=3)


def test_what_agents_report_is_held_against_what_they_are_to_obey(connection: Connection) -> None:
    etag = poll("db-1")["headers"]["ETag"]
    _report(connection, "db-1", etag)
    assert _of("db-1")["state"] == "current"
    saved = save("fleet", {"upload_every_seconds": 30})
    found = _of("db-1")
    assert (found["state"], found["version"], found["reported_version"]) == ("behind", saved["revision"], 7)
    newer = poll("db-1")["headers"]["ETag"]
    assert _of("db-1")["state"] == "behind"  # it has it, and has not said so
    connection.execute(
        "update store.agent set (config_etag, config_state, config_reason) = (%s, 'rejected', 'no')", (newer,)
    )
    found = _of("db-1")
    assert (found["state"], found["reason"]) == ("rejected", "no")
    connection.execute("update store.agent set config_state = 'applied', last_seen_at = now() - interval '1 hour'")
    assert _of("db-1")["state"] == "silent"
    obeys("db-2")
    assert _of("db-2") == {
        "agent_id": "db-2",
        "state": "unknown",
        "version": saved["revision"],
        "reported_version": None,
        "reason": None,
        "last_seen_at": None,
    }


def test_a_change_that_is_none_for_an_agent_leaves_it_current(connection: Connection) -> None:
    _report(connection, "db-1", poll("db-1")["headers"]["ETag"])
    save("group:web", {}, group=PRODUCTION)
    save("agent:db-2", {})
    assert _of("db-1")["state"] == "current"


def test_the_status_knows_releases(connection: Connection) -> None:
    _report(connection, "db-1", poll("db-1")["headers"]["ETag"])
    save("fleet", {}, activate=False)
    begin_release(connection, "fleet", 1, stages=("100%",))
    assert _of("db-1")["state"] == "behind"
    assert connection.execute("select count(*) from store.release_agent").fetchone() == (0,)
    _report(connection, "db-3", poll("db-3")["headers"]["ETag"])
    assert _of("db-3")["state"] == "current"


def test_neither_a_clock_that_is_wrong_nor_a_proxy_makes_an_agent_silent_or_behind(connection: Connection) -> None:
    _report(connection, "db-1", "W/" + poll("db-1")["headers"]["ETag"])
    connection.execute(
        "update store.agent set (last_seen_at, clock_skew_us) = (now() - interval '1 hour', -3600 * 1000000::bigint)"
    )
    assert _of("db-1")["state"] == "current"


def test_pages_give_every_agent_once_and_always_count_all(connection: Connection) -> None:
    etag = poll("db-1")["headers"]["ETag"]
    for number in range(1, 6):
        _report(connection, f"db-{number}", etag if number % 2 else None)
    counts = {"current": 3, "behind": 2, "rejected": 0, "silent": 0, "unknown": 0}
    for only in (None, "current"):
        query = {"limit": "2"} if only is None else {"limit": "2", "state": only}
        found: list[str] = []
        while True:
            page = told("GET", "/v1/configuration", query=query)
            assert page["counts"] == counts
            found += [each["agent_id"] for each in page["items"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert found == [f"db-{number}" for number in range(1, 6) if only is None or number % 2]


def test_a_state_that_there_is_not_is_refused() -> None:
    assert problem(ask("GET", "/v1/configuration", query={"state": "well"}))[0] == 422
    assert problem(ask("GET", "/v1/configuration", query={"cursor": "x"}))[0] == 400


def test_a_configuration_is_explained_key_by_key() -> None:
    obeys("db-1")
    save("fleet", {"preset": "minimal", "metrics": {"activity": {"every_seconds": 5, "at_most": 10}}})
    save("group:web", {"metrics": {"activity": {"every_seconds": 7}}, "preset": "rds"}, group=PRODUCTION)
    save("agent:db-1", {"preset": "exhaustive"})
    save("agent:db-2", {"preset": "standard"})
    told("PUT", "/v1/agents/db-1/labels", {"labels": PRODUCTION["selector"]})
    found = told("GET", "/v1/agents/db-1/configuration")
    assert found["scopes"] == ["fleet", "group:web", "agent:db-1"]
    assert found["origins"] == {
        "preset": "agent:db-1",
        "metrics.activity.every_seconds": "group:web",
        "metrics.activity.at_most": "fleet",
    }
    assert found["labels"] == PRODUCTION["selector"]
    asked = obeys("db-1")
    assert found["document"] == asked.document.model_dump(mode="json")
    assert (found["version"], found["etag"]) == (asked.version, poll("db-1")["headers"]["ETag"])


def test_labels_stand_in_the_place_of_all_there_were_and_are_obeyed_at_once(connection: Connection) -> None:
    save("group:web", {"upload_every_seconds": 7}, group=PRODUCTION)
    obeys("db-1")
    answered = told("PUT", "/v1/agents/db-1/labels", {"labels": {"environment": "production", "tier": "gold"}})
    assert answered["document"]["upload_every_seconds"] == 7
    assert answered["scopes"] == ["group:web"]
    assert obeys("db-1").document.upload_every_seconds == 7
    assert told("PUT", "/v1/agents/db-1/labels", {"labels": {}})["labels"] == {}
    assert obeys("db-1").document.upload_every_seconds == 60
    entries = connection.execute(
        "select actor, address, subject, detail from identity.audit where action = 'agent.label' order by id"
    ).fetchall()
    assert entries == [
        ("ann", "127.0.0.1", "db-1", {"labels": {"environment": "production", "tier": "gold"}}),
        ("ann", "127.0.0.1", "db-1", {"labels": {}}),
    ]


@pytest.mark.parametrize("labels", [{"A": "x"}, {"a": ""}, {"a": 1}, {"a" * 70: "x"}, {"": "x"}, ["a"], None])
def test_what_is_no_label_is_refused(labels: Any) -> None:
    obeys("db-1")
    assert problem(ask("PUT", "/v1/agents/db-1/labels", {"labels": labels}))[0] == 422


def test_an_agent_that_nobody_knows_is_not_found(connection: Connection) -> None:
    save("fleet", {})
    expected = (404, "there is no agent db-1")
    assert problem(ask("GET", "/v1/agents/db-1/configuration")) == expected
    assert problem(ask("PUT", "/v1/agents/db-1/labels", {"labels": {}})) == expected
    assert connection.execute("select count(*) from store.agent_labels").fetchone() == (0,)
