"""One contract in two places: what a request is answered, over HTTPS by the standalone server and by API Gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
import urllib3

from contracts.codec import decode, sha256
from contracts.identity import EnrolmentCreated
from contracts.objects import key_of
from functions.authorizer.keys import Keys, generate
from functions.authorizer.tokens import issue
from functions.http import SAFE_HEADERS
from tests.functions.events import agent_claims, operator_claims
from tests.functions.identities import GRANT, Agent
from tests.infra.standalone.serving import batch
from tests.lambdas.cases import AGENT, ALL, DIFFERENCES, PROBLEM, Case
from tests.lambdas.gateway import Answer
from tests.lambdas.places import ADMIN, PASSWORD, Place, Standalone

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def tokens(place: Place) -> Mapping[str, str]:
    """By who has it."""
    now = int(time.time())
    return {
        "agent": place.token(agent_claims(AGENT)),
        "expired": place.token(agent_claims(AGENT, now=now - 3600)),
        "early": place.token(agent_claims(AGENT, now=now + 3600)),
        "strange": issue(agent_claims(AGENT), Keys((generate(),))),
        **{role: place.token(operator_claims(role)) for role in ("viewer", "operator", "admin")},
    }


@pytest.mark.parametrize("name", ALL)
def test_a_request_is_answered_alike(name: str, place: Place, tokens: Mapping[str, str]) -> None:
    case = ALL[name]
    headers = dict(case.headers)
    if case.content:
        headers["Content-Type"] = case.content
    if case.who is not None:
        headers["Authorization"] = f"Bearer {tokens[case.who]}"
    answer = place.ask(case.method, case.target, headers, case.sent)
    if case.own is not None:
        _check_own(case.own, answer, place)
        return
    assert answer.status == case.status, answer.body
    assert {name.lower(): value for name, value in SAFE_HEADERS.items()}.items() <= answer.headers.items()
    assert answer.headers["strict-transport-security"]
    _check_said(case, answer)


def _check_own(name: str, answer: Answer, place: Place) -> None:
    own = DIFFERENCES[name]
    status, says = own.standalone if isinstance(place, Standalone) else own.lambdas
    assert answer.status == status
    told = answer.json()
    assert says in (told.get("message"), told.get("detail"))


def _check_said(case: Case, answer: Answer) -> None:
    told = answer.json()
    if answer.status < 400:
        assert answer.headers["content-type"] == "application/json"
        assert isinstance(case.says, Mapping)
        assert case.says.items() <= told.items()
    else:
        assert answer.headers["content-type"] == PROBLEM
        assert told["status"] == answer.status
        assert case.says is None or str(case.says) in told["detail"], told


def test_an_agent_enrols_and_is_given_tokens_until_it_is_revoked(place: Place, tokens: Mapping[str, str]) -> None:
    made = place.ask_json("POST", "/v1/enrolments", tokens["operator"], {"uses": 1, "labels": {"environment": "test"}})
    assert made.status == 201, made.body
    enrolment = EnrolmentCreated.model_validate_json(made.body).token
    agent = Agent("db-9")
    enrolled = place.ask_json("POST", "/v1/agents", enrolment, {"csr": agent.csr()})
    assert enrolled.status == 201, enrolled.body
    again = place.ask_json("POST", "/v1/agents", enrolment, {"csr": agent.csr()})
    assert again.json()["agent_id"] == "db-9"  # as after an answer that was lost
    another = place.ask_json("POST", "/v1/agents", enrolment, {"csr": Agent("db-10").csr()})
    assert (another.status, another.headers["www-authenticate"]) == (401, "Bearer")
    audience = enrolled.json()["audience"]

    assertion = agent.assertion(aud=audience)
    granted = place.ask_json("POST", "/v1/token", body={"grant_type": GRANT, "assertion": assertion})
    assert granted.status == 200, granted.body
    assert granted.json()["expires_in"] == 900
    token = granted.json()["access_token"]
    replayed = place.ask_json("POST", "/v1/token", body={"grant_type": GRANT, "assertion": assertion})
    assert replayed.status == 401
    stranger = Agent("db-9").assertion(aud=audience)
    assert place.ask_json("POST", "/v1/token", body={"grant_type": GRANT, "assertion": stranger}).status == 401
    assert place.ask_json("GET", "/v1/config", token).status == 200
    assert place.ask_json("POST", "/v1/certificate", token, {"csr": agent.csr()}).status == 201

    revoked = place.ask_json("DELETE", "/v1/agents/db-9?reason=stolen", tokens["admin"])
    assert (revoked.status, revoked.body) == (204, b"")
    late = {"grant_type": GRANT, "assertion": agent.assertion(aud=audience)}
    assert place.ask_json("POST", "/v1/token", body=late).status == 401
    audit = place.ask_json("GET", "/v1/audit?action=agent.revoke", tokens["admin"]).json()["items"]
    assert [(each["subject"], each["detail"]["reason"]) for each in audit] == [("db-9", "stolen")]


def test_a_batch_is_accepted_once_and_again(place: Place, tokens: Mapping[str, str]) -> None:
    data = batch(1, agent_id=AGENT)
    headers = {"Content-Type": "application/gzip", "Authorization": f"Bearer {tokens['agent']}"}
    answers = [place.ask("POST", "/v1/batches", headers, data) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    key = answers[0].json()["key"]
    assert key == str(key_of(decode(data), sha256(data)))
    assert place.get(key) == data


def test_another_batch_under_the_same_number_is_kept_apart(place: Place, tokens: Mapping[str, str]) -> None:
    """Two agents share one identity: the door takes both, and the loader refuses the second."""
    first = batch(1, agent_id=AGENT)
    second = batch(1, agent_id=AGENT, stream_id=decode(first).stream_id)
    headers = {"Content-Type": "application/gzip", "Authorization": f"Bearer {tokens['agent']}"}
    keys = []
    for data in (first, second):
        answer = place.ask("POST", "/v1/batches", headers, data)
        assert answer.status == 202
        keys.append(answer.json()["key"])
        assert place.tell(answer.json()["key"]) == set()
    assert len(set(keys)) == 2
    stream = str(decode(first).stream_id)
    assert place.rows("select count(*) from store.ledger where stream_id = %s", stream) == [(1,)]
    (found,) = place.rows("select object_key, reason from store.quarantine where object_key = any(%s)", keys)
    assert found[0] == keys[1]
    assert "identity" in found[1]


def test_an_address_for_a_batch_makes_the_object(place: Place, tokens: Mapping[str, str]) -> None:
    data = batch(5, agent_id=AGENT)
    made = decode(data)
    asked = {"stream_id": str(made.stream_id), "seq": made.seq, "sent_at": made.sent_at}
    asked |= {"sha256": sha256(data), "size_bytes": len(data)}
    granted = place.ask_json("POST", "/v1/uploads", tokens["agent"], asked)
    assert (granted.status, granted.headers["cache-control"]) == (201, "no-store"), granted.body
    told = granted.json()
    assert told["key"] == str(key_of(made, sha256(data)))
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        assert pool.request("PUT", told["url"], headers=told["headers"], body=data).status == 200
    assert place.get(told["key"]) == data


def test_the_configuration_is_answered_until_it_changes(place: Place, tokens: Mapping[str, str]) -> None:
    first = place.ask_json("GET", "/v1/config", tokens["agent"])
    assert (first.status, first.headers["cache-control"]) == (200, "no-cache")
    etag = first.headers["etag"]
    same = place.ask_json("GET", "/v1/config", tokens["agent"], If_None_Match=etag)
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)

    document = {"document": {"pull_every_seconds": 77}}
    saved = place.ask_json("PUT", f"/v1/documents/agent:{AGENT}", tokens["operator"], document, If_None_Match="*")
    assert saved.status == 200, saved.body
    blind = place.ask_json("PUT", f"/v1/documents/agent%3A{AGENT}", tokens["operator"], document)
    assert blind.status == 428
    stale = place.ask_json("PUT", f"/v1/documents/agent:{AGENT}", tokens["operator"], document, If_Match='"99"')
    assert stale.status == 412
    assert f"send If-Match: {saved.headers['etag']}" in stale.json()["detail"]
    changed = place.ask_json("GET", "/v1/config", tokens["agent"], If_None_Match=etag)
    assert (changed.status, changed.json()["document"]["pull_every_seconds"]) == (200, 77)

    seen = place.ask_json(
        "PUT", f"/v1/documents/agent:{AGENT}", tokens["operator"], {"document": {}}, If_Match=saved.headers["etag"]
    )
    assert (seen.status, seen.json()["version"]) == (200, 2)
    diff = place.ask_json("GET", f"/v1/documents/agent:{AGENT}/diff?from=1&to=2", tokens["viewer"])
    assert "pull_every_seconds" in diff.body.decode()
    versions = place.ask_json("GET", f"/v1/documents/agent:{AGENT}/versions?limit=1", tokens["viewer"]).json()
    assert ([each["version"] for each in versions["items"]], bool(versions["next"])) == ([2], True)
    back = place.ask_json(
        "POST",
        f"/v1/documents/agent:{AGENT}/rollback",
        tokens["operator"],
        {"version": 1},
        If_Match=seen.headers["etag"],
    )
    assert (back.status, back.json()["version"]) == (200, 3)


def test_an_operator_logs_in_and_their_session_goes_on(place: Place) -> None:
    session = place.ask_json("POST", "/v1/auth/login", body={"name": ADMIN, "password": PASSWORD})
    assert session.status == 200, session.body
    token, refresh = session.json()["access_token"], session.json()["refresh_token"]
    user = {"name": "ann", "role": "viewer", "password": "another horse, another battery"}
    made = place.ask_json("POST", "/v1/users", token, user)
    assert (made.status, made.json()["created_by"]) == (201, ADMIN)
    assert "password" not in made.json()
    assert place.ask_json("POST", "/v1/users", token, user).status == 409
    found = place.ask_json("GET", "/v1/users", token).json()["items"]
    assert [each["name"] for each in found] == ["ann", ADMIN]
    login = place.ask_json("POST", "/v1/auth/login", body={"name": "ann", "password": user["password"]})
    assert place.ask_json("GET", "/v1/targets", login.json()["access_token"]).status == 200
    assert place.ask_json("PATCH", "/v1/users/ann", token, {"disabled": True}).status == 200
    assert place.ask_json("POST", "/v1/auth/login", body={"name": "ann", "password": user["password"]}).status == 401

    going_on = place.ask_json("POST", "/v1/auth/refresh", body={"refresh_token": refresh})
    assert going_on.status == 200
    assert place.ask_json("POST", "/v1/auth/refresh", body={"refresh_token": refresh}).status == 401
    ended = place.ask_json("POST", "/v1/auth/logout", body={"refresh_token": going_on.json()["refresh_token"]})
    assert (ended.status, ended.body) == (204, b"")


def test_what_was_loaded_can_be_read(place: Place, tokens: Mapping[str, str]) -> None:
    assert place.tell(*(place.put(batch(seq, agent_id="db-read")) for seq in (3, 4))) == set()
    agents = place.ask_json("GET", "/v1/agents?limit=100", tokens["viewer"]).json()["items"]
    assert "db-read" in [each["agent_id"] for each in agents]
    targets = place.ask_json("GET", "/v1/targets?limit=100", tokens["viewer"]).json()["items"]
    (target,) = [each["id"] for each in targets if each["agent_id"] == "db-read"]
    assert (
        place.ask_json("GET", f"/v1/targets/{target}", tokens["viewer"]).json()["runs"][0]["collector"] == "host_load"
    )
    page = f"/v1/targets/{target}/metrics?metric=host_load&limit=1"
    first = place.ask_json("GET", page, tokens["viewer"]).json()
    second = place.ask_json("GET", f"{page}&cursor={first['next']}", tokens["viewer"]).json()
    assert [each["threads"] for each in (*first["items"], *second["items"])] == [3, 4]
    coverage = place.ask_json("GET", "/v1/agents/db-read/coverage", tokens["viewer"])
    assert coverage.status == 200
    assert [each["id"] for each in coverage.json()["targets"]] == [target]
