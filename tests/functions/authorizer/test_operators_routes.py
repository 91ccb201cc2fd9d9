"""Operators at the door: what HTTP says, and what the audit log shows in pages."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.claims import CLAIMS
from functions.audit import record
from functions.authorizer import operators_routes
from functions.authorizer.handler import handler as authorizer
from functions.authorizer.keys import dump
from functions.authorizer.passwords import Passwords
from functions.store import Connection
from tests.functions.authorizer.operating import (
    ANOTHER,
    ELSEWHERE,
    HERE,
    KEYS,
    NOW,
    PASSWORD,
    Counting,
    Operators,
    ask,
    audited,
)
from tests.functions.events import operator_claims, problem, request

#: Of a token that was made beside the keys: no account has this name.
ADMIN = operator_claims("admin").model_copy(update={"sub": "script"})


@pytest.fixture(autouse=True)
def _at_the_door(monkeypatch: pytest.MonkeyPatch, deployed: None, operators: Operators, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(dump(KEYS.all))
    file.chmod(0o600)
    monkeypatch.setenv("PGANALYTICS_KEYS_FILE", str(file))
    monkeypatch.setattr(operators_routes, "passwords", lambda: operators.passwords)
    operators.add("root", "admin")


def _login(name: str = "root", password: str = PASSWORD, address: str = HERE) -> dict[str, Any]:
    return ask("POST", "/v1/auth/login", {"name": name, "password": password}, address=address)


def _session(name: str = "root", password: str = PASSWORD) -> Any:
    answer = _login(name, password)
    assert answer["statusCode"] == 200, answer["body"]
    assert answer["headers"]["Cache-Control"] == "no-store"
    return json.loads(answer["body"])


def _claims(session: Any) -> Any:
    event = request("GET", "/v1/targets", headers={"authorization": f"Bearer {session['access_token']}"})
    answer = authorizer(event, None)
    assert answer["isAuthorized"] is True
    return CLAIMS.validate_python(answer["context"])


def _refresh(token: str) -> dict[str, Any]:
    return ask("POST", "/v1/auth/refresh", {"refresh_token": token})


def test_what_a_login_grants_opens_the_api() -> None:
    session = _session("ann")
    assert (session["token_type"], session["expires_in"], session["role"]) == ("Bearer", 900, "viewer")
    claims = _claims(session)
    assert (claims.sub, claims.scope) == ("ann", "viewer")


def test_every_refusal_is_the_same_answer() -> None:
    ask("PATCH", "/v1/users/ann", {"disabled": True}, claims=ADMIN)
    refusals = [_login(*each) for each in (("ann", PASSWORD), ("nobody", PASSWORD), ("root", ANOTHER), ("A", ""))]
    assert [refusal == refusals[0] for refusal in refusals] == [True] * 4
    assert problem(refusals[0]) == (401, "name and password are not those of an active account")
    assert refusals[0]["headers"]["WWW-Authenticate"] == "Bearer"


def test_too_many_failures_are_told_when_to_come_back() -> None:
    for _ in range(7):
        answer = _login("ann", ANOTHER, ELSEWHERE)
    status, detail = problem(answer)
    assert (status, answer["headers"]["Retry-After"]) == (429, "1")
    assert "try again in 1 s" in detail
    assert _login("ann")["statusCode"] == 200


def test_a_server_that_is_busy_says_when_to_come_back(operators: Operators) -> None:
    while operators.passwords._inside.acquire(blocking=False):
        pass
    answer = _login()
    assert (problem(answer)[0], answer["headers"]["Retry-After"]) == (503, "5")


def test_a_session_goes_on_and_ends() -> None:
    session = _session()
    following = _refresh(session["refresh_token"])
    assert (following["statusCode"], following["headers"]["Cache-Control"]) == (200, "no-store")
    token = json.loads(following["body"])["refresh_token"]
    assert ask("POST", "/v1/auth/logout", {"refresh_token": token})["statusCode"] == 204
    assert problem(_refresh(token)) == (401, "the session has ended; log in again")
    assert ask("POST", "/v1/auth/logout", {"refresh_token": "unknown"})["statusCode"] == 204


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "body.name"),
        ({"name": "ann"}, "body.password"),
        ({"name": "ann", "password": "the-secret" * 30}, "body.password"),
        ({"name": "ann", "password": "the-secret", "otp": "the-secret"}, "body.otp"),
        ({"name": "ann", "password": ["the-secret"]}, "body.password"),
        ({"name": "\ud800", "password": "the-secret"}, "body.name"),
    ],
)
def test_what_is_no_login_is_told_without_its_secret(body: object, names: str) -> None:
    answer = ask("POST", "/v1/auth/login", body)
    status, detail = problem(answer)
    assert status == 422
    assert names in detail
    assert "the-secret" not in detail


def test_an_admin_makes_changes_and_lists_operators() -> None:
    made = ask("POST", "/v1/users", {"name": "ben@example.org", "role": "viewer", "password": ANOTHER}, claims=ADMIN)
    assert made["statusCode"] == 201
    user = json.loads(made["body"])
    assert (user["name"], user["created_by"], user["disabled_at"]) == ("ben@example.org", "script", None)
    for path in ("/v1/users/ben@example.org", "/v1/users/ben%40example.org"):
        changed = ask("PATCH", path, {"role": "operator"}, claims=ADMIN)
        assert (changed["statusCode"], json.loads(changed["body"])["role"]) == (200, "operator")
    listed = json.loads(ask("GET", "/v1/users", claims=ADMIN)["body"])
    assert [user["name"] for user in listed["items"]] == ["ann", "ben@example.org", "root"]
    page = json.loads(ask("GET", "/v1/users", claims=ADMIN, query={"limit": "1"})["body"])
    rest = json.loads(ask("GET", "/v1/users", claims=ADMIN, query={"cursor": page["next"]})["body"])
    assert page["items"] + rest["items"] == listed["items"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v1/users", {"name": "ann", "role": "viewer", "password": ANOTHER}, 409, "there is a user ann"),
        ("POST", "/v1/users", {"name": "Ann", "role": "viewer", "password": ANOTHER}, 422, "body.name"),
        ("POST", "/v1/users", {"name": "ben", "role": "god", "password": ANOTHER}, 422, "body.role"),
        ("POST", "/v1/users", {"name": "ben", "role": "viewer", "password": "the-secret"}, 422, "12"),
        ("PATCH", "/v1/users/root", {"disabled": True}, 409, "root is the last admin"),
        ("PATCH", "/v1/users/root", {"role": "viewer"}, 409, "root is the last admin"),
        ("PATCH", "/v1/users/ann", {}, 422, "role or disabled"),
        ("PATCH", "/v1/users/ann", {"disabled": "yes"}, 422, "body.disabled"),
        ("PATCH", "/v1/users/ann", {"role": "viewer", "disabled": None}, 422, "null changes nothing; leave it out"),
        ("PATCH", "/v1/users/ben", {"disabled": True}, 404, "no user ben"),
        ("PATCH", "/v1/users/%00", {"disabled": True}, 422, "name"),
        ("PUT", "/v1/users/ben/password", {"password": ANOTHER}, 404, "no user ben"),
        ("PUT", "/v1/users/ann/password", {"password": "the-secret"}, 422, "body.password"),
        ("PUT", "/v1/auth/password", {"old": ANOTHER, "password": ANOTHER}, 404, "no user script"),
        ("GET", "/v1/users", None, 400, "cursor"),
    ],
)
def test_a_change_that_cannot_be(method: str, path: str, body: object, status: int, says: str) -> None:
    answer = ask(method, path, body, claims=ADMIN, query={"cursor": "x"} if status == 400 else None)
    told = problem(answer)
    assert told[0] == status
    assert says in told[1]
    assert "the-secret" not in told[1]


def test_ones_own_password() -> None:
    claims = _claims(session := _session("ann"))
    wrong = ask("PUT", "/v1/auth/password", {"old": ANOTHER, "password": ANOTHER}, claims=claims)
    assert problem(wrong) == (403, "old: wrong password")
    assert ask("PUT", "/v1/auth/password", {"old": PASSWORD, "password": ANOTHER}, claims=claims)["statusCode"] == 204
    assert _refresh(session["refresh_token"])["statusCode"] == 401
    assert _login("ann")["statusCode"] == 401
    assert _session("ann", ANOTHER)["name"] == "ann"


def test_a_password_by_an_admin() -> None:
    session = _session("ann")
    answer = ask("PUT", "/v1/users/ann/password", {"password": ANOTHER}, claims=_claims(_session()))
    assert answer["statusCode"] == 204
    assert _refresh(session["refresh_token"])["statusCode"] == 401
    assert _session("ann", ANOTHER)["name"] == "ann"


def test_an_admin_of_before_is_told_so() -> None:
    claims = _claims(_session())
    ask("POST", "/v1/users", {"name": "other", "role": "admin", "password": ANOTHER}, claims=claims)
    ask("PATCH", "/v1/users/root", {"role": "viewer"}, claims=claims)
    assert problem(ask("PATCH", "/v1/users/root", {"role": "admin"}, claims=claims)) == (
        403,
        "root is disabled, or no admin any more",
    )


def test_the_login_of_a_viewer_is_in_the_log_with_its_address(connection: Connection) -> None:
    _login("ann", address="2001:db8::7")
    _login("ann", ANOTHER, address="2001:db8::7")
    assert audited(connection, "login") == [
        ("operator", "ann", "2001:db8::7", "login", "ann", "done", None),
        ("nobody", "ann", "2001:db8::7", "login", "ann", "refused", "wrong password"),
    ]


def test_with_the_real_parameters_a_login_works(operators: Operators) -> None:
    operators.passwords = Passwords()
    assert _session()["name"] == "root"
    operators.passwords = Passwords(Counting())
    assert _session()["name"] == "root"


# The audit log.


@pytest.fixture
def logged(connection: Connection) -> None:
    """Seven entries, a second apart but for the last three, which came at once."""
    connection.execute("truncate identity.audit restart identity")
    for number in range(7):
        record(
            connection,
            actor_kind="operator",
            actor=f"user{number % 2}",
            address=HERE,
            action="login" if number < 4 else "logout",
            detail={"number": number},
        )
    for number in range(7):
        connection.execute(
            "update identity.audit set at = %s where detail = jsonb_build_object('number', %s::int)",
            (NOW + timedelta(seconds=min(number, 4)), number),
        )


def _numbers(**query: str) -> list[int]:
    found: list[int] = []
    while True:
        answer = ask("GET", "/v1/audit", claims=ADMIN, query=query)
        assert answer["statusCode"] == 200, answer["body"]
        page = json.loads(answer["body"])
        found += [entry["detail"]["number"] for entry in page["items"]]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


@pytest.mark.usefixtures("logged")
def test_pages_of_any_size_show_every_entry_once_the_newest_first() -> None:
    assert [_numbers(limit=str(limit)) for limit in (1, 2, 3, 7, 8)] == [[6, 5, 4, 3, 2, 1, 0]] * 5


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("limit", ["1", "100"])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action": "login"}, [3, 2, 1, 0]),
        ({"actor": "user1"}, [5, 3, 1]),
        ({"action": "logout", "actor": "user0"}, [6, 4]),
        ({"from": "2026-01-31T09:30:03Z"}, [6, 5, 4, 3]),
        ({"until": "2026-01-31T10:30:03+01:00"}, [2, 1, 0]),
        ({"from": "2026-01-31T09:30:01Z", "until": "2026-01-31T09:30:04Z"}, [3, 2, 1]),
        ({"action": "'; --"}, []),
        ({"from": "9999-12-31T23:59:59-12:00"}, []),
        ({"until": "0001-01-01T00:00:00+14:00"}, []),
    ],
)
def test_filters_narrow_every_page(query: dict[str, str], found: list[int], limit: str) -> None:
    assert _numbers(**query, limit=limit) == found


@pytest.mark.usefixtures("logged")
def test_entries_that_come_while_pages_are_turned_do_not_move_them(connection: Connection) -> None:
    first = json.loads(ask("GET", "/v1/audit", claims=ADMIN, query={"limit": "2"})["body"])
    record(connection, actor_kind="nobody", actor=None, address=None, action="login", detail={"number": 7})
    assert [entry["detail"]["number"] for entry in first["items"]] == [6, 5]
    assert _numbers(cursor=first["next"]) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("query", "status", "names"),
    [
        ({"cursor": "x"}, 400, "cursor"),
        ({"from": "yesterday"}, 422, "from"),
        ({"from": "2026-01-31"}, 422, "from"),
        ({"until": "1769851800"}, 422, "until"),
        ({"limit": "0"}, 422, "limit"),
        ({"action": "a\0b"}, 422, "action"),
        ({"actor": "a\0b"}, 422, "actor"),
    ],
)
def test_a_log_that_cannot_be_asked_for(query: dict[str, str], status: int, names: str) -> None:
    told = problem(ask("GET", "/v1/audit", claims=ADMIN, query=query))
    assert told[0] == status
    assert names in told[1]
