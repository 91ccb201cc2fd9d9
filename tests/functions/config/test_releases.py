"""Operators begin releases, watch them, hold them and take them back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from contracts.claims import Role
from contracts.configuration import Release, Releases
from contracts.routes import ROUTES
from functions.config import parts
from functions.config.handler import handler
from functions.store import Connection
from tests.functions.config.api import PRODUCTION, ask, obeys, save, told
from tests.functions.events import agent_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")


def _start(**asked: Any) -> Release:
    answer = ask("POST", "/v1/releases", asked)
    assert answer["statusCode"] == 201, answer["body"]
    release = Release.model_validate_json(answer["body"])
    assert answer["headers"]["Location"] == f"/v1/releases/{release.id}"
    return release


def _do(release: Release, what: str) -> Release:
    return Release.model_validate(told("POST", f"/v1/releases/{release.id}/{what}"))


def _refused(asked: dict[str, Any]) -> tuple[int, str]:
    return problem(ask("POST", "/v1/releases", asked))


def test_a_release_is_of_the_newest_draft_with_careful_stages() -> None:
    save("fleet", {})
    save("fleet", {"upload_every_seconds": 30}, activate=False)
    save("fleet", {"upload_every_seconds": 31}, activate=False)
    release = _start(comment="why")
    assert (release.scope, release.from_version, release.to_version) == ("fleet", 1, 3)
    assert release.stages == ["canary", "1%", "10%", "100%"]
    assert (release.state, release.stage, release.bake_seconds, release.comment) == ("running", 0, 600, "why")
    assert (release.created_by, release.agents, release.touched) == ("ann", 0, 0)
    (event,) = release.events
    assert (event.event, event.actor, event.detail) == ("started", "ann", {"stage": "canary", "from": 1, "to": 3})
    assert Release.model_validate(told("GET", f"/v1/releases/{release.id}")) == release


def test_an_older_draft_can_be_named() -> None:
    for seconds in (30, 31):
        save("fleet", {"upload_every_seconds": seconds}, activate=False)
    assert (_start(version=1).to_version, obeys().document.upload_every_seconds) == (1, 60)


def test_one_release_at_most_is_on_its_way_in_a_scope() -> None:
    save("fleet", {}, activate=False)
    save("group:a", {}, group=PRODUCTION, activate=False)
    first = _start()
    status, detail = _refused({"version": 1})
    assert status == 409
    assert detail.startswith(f"release {first.id} of fleet version 1, begun by ann at ")
    assert detail.endswith(" UTC, is running: wait for its end, or abort it")
    _do(first, "pause")
    assert "is paused" in _refused({})[1]
    assert _start(scope="group:a").scope == "group:a"
    _do(first, "abort")
    assert _start().id > first.id


def test_of_two_that_begin_at_once_one_is_told_of_the_other() -> None:
    save("fleet", {}, activate=False)
    together = Barrier(4)

    def begin(_: int) -> Any:
        together.wait(10)
        try:
            return ask("POST", "/v1/releases", {})
        finally:
            parts.store().close()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(begin, range(4)))
    assert sorted(answer["statusCode"] for answer in answers) == [201, 409, 409, 409]
    (number,) = (json.loads(answer["body"])["id"] for answer in answers if answer["statusCode"] == 201)
    assert all(problem(each)[1].startswith(f"release {number} of ") for each in answers if each["statusCode"] == 409)


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ({}, 409, "version: fleet has none that waits for a release; save one with activate = false"),
        ({"version": 3}, 409, "version: 3 of fleet is live"),
        ({"version": 2}, 409, "version: 2 of fleet is older than 3, which is live; roll back to it instead"),
        ({"version": 9}, 404, "version: fleet has no version 9"),
        ({"scope": "agent:db-1", "version": 1}, 404, "version: agent:db-1 has no version 1"),
        (
            {"stages": ["canary", "10%"]},
            422,
            "stages: in the end everybody is given the version, so the last is 100%, not 10%",
        ),
    ],
)
def test_what_cannot_be_released_is_refused_with_what_to_do(asked: dict[str, Any], status: int, detail: str) -> None:
    save("fleet", {})
    save("fleet", {"upload_every_seconds": 30}, activate=False)
    save("fleet", {})
    assert _refused(asked) == (status, detail)
    assert told("GET", "/v1/releases")["items"] == []


@pytest.mark.parametrize(
    "asked", [{"stages": []}, {"stages": ["101%"]}, {"bake_seconds": 0}, {"gates": {"errors": 2}}, {"scope": "x"}]
)
def test_what_is_no_release_is_not_valid(asked: dict[str, Any]) -> None:
    assert ask("POST", "/v1/releases", asked)["statusCode"] == 422


def test_a_release_goes_through_its_states_and_no_others() -> None:
    save("fleet", {}, activate=False)
    release = _start()

    def refused(what: str) -> str:
        status, detail = problem(ask("POST", f"/v1/releases/{release.id}/{what}"))
        assert status == 409
        return detail

    assert refused("resume") == f"release {release.id} is running; only one that is paused can be resumed"
    assert _do(release, "pause").state == "paused"
    assert refused("pause") == f"release {release.id} is paused; only one that is running can be paused"
    resumed = _do(release, "resume")
    assert (resumed.state, resumed.stage_since_at > release.stage_since_at) == ("running", True)
    aborted = _do(release, "abort")
    assert (aborted.state, aborted.reason) == ("aborted", "aborted by ann")
    assert aborted.ended_at is not None
    for what in ("pause", "resume", "abort"):
        assert "is aborted" in refused(what)
    assert [each.event for each in aborted.events] == ["started", "paused", "resumed", "aborted"]


def test_there_is_no_release_that_nobody_began() -> None:
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/abort")):
        assert problem(ask(method, f"/v1/releases/7{path}")) == (404, "there is no release 7")


def test_releases_are_listed_the_newest_first_in_pages() -> None:
    for number in range(5):
        save(f"agent:db-{number}", {}, activate=False)
        _start(scope=f"agent:db-{number}")
    found: list[str] = []
    query = {"limit": "2"}
    while True:
        page = Releases.model_validate(told("GET", "/v1/releases", query=query))
        assert all(not each.events for each in page.items)
        found += [each.scope for each in page.items]
        if page.next is None:
            break
        query["cursor"] = page.next
    assert found == [f"agent:db-{number}" for number in (4, 3, 2, 1, 0)]
    assert ask("GET", "/v1/releases", query={"cursor": "x"})["statusCode"] == 400


def test_a_group_counts_whom_it_has_before_or_after(connection: Connection) -> None:
    labels = {"a": {"tier": "gold"}, "b": {"tier": "silver"}, "c": {}}
    for agent, given in labels.items():
        obeys(agent)
        told("PUT", f"/v1/agents/{agent}/labels", {"labels": given})
    save("group:a", {}, group={"selector": {"tier": "gold"}})
    save("group:a", {}, group={"selector": {"tier": "silver"}}, activate=False)
    assert _start(scope="group:a").agents == 2


def test_what_operators_do_is_in_the_audit_log(connection: Connection) -> None:
    save("fleet", {}, activate=False)
    release = _start()
    for what in ("pause", "resume", "abort"):
        _do(release, what)
    _refused({"version": 9})
    found = connection.execute(
        "select action, actor, subject, detail from identity.audit where action like 'release.%' order by id"
    ).fetchall()
    detail = {"release": release.id, "version": 1, "stage": 0}
    assert found == [(f"release.{what}", "ann", "fleet", detail) for what in ("start", "pause", "resume", "abort")]


def test_viewers_look_and_operators_do() -> None:
    roles = {route.key: route.role for route in ROUTES if route.path.startswith("/v1/releases")}
    assert len(roles) == 6
    assert all(role is (Role.VIEWER if key.startswith("GET") else Role.OPERATOR) for key, role in roles.items())


def test_an_agent_may_not_begin_a_release() -> None:
    headers = {"content-type": "application/json"}
    event = request("POST", "/v1/releases", claims=agent_claims(), headers=headers, body=json.dumps({}).encode())
    assert problem(handler(event, None)) == (403, "only an operator may do this")
