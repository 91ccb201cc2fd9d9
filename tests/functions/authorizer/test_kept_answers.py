"""API Gateway keeps the authorizer's answer by token and route: nothing else of a request may matter to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from contracts.claims import AgentClaims, OperatorClaims
from contracts.routes import ROUTES, Route
from functions.authorizer.handler import handler
from functions.authorizer.keys import Keys, dump, generate, load
from functions.authorizer.tokens import issue
from tests.functions.events import agent_claims, operator_claims, request

CLAIMS = (agent_claims(), *(operator_claims(role) for role in ("viewer", "operator", "admin")))


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    file = tmp_path / "keys.json"
    file.touch(0o600)
    file.write_text(dump([generate()]))
    monkeypatch.setenv("PGANALYTICS_KEYS_FILE", str(file))
    return load(file)


def _ask(route: Route, token: str, parameter: str, headers: dict[str, str], query: dict[str, str]) -> dict[str, Any]:
    path = re.sub(r"\{\w+\}", parameter, route.path)
    event = request(route.method, path, query, headers={"authorization": f"Bearer {token}", **headers}, body=b"x")
    event["routeKey"] = event["requestContext"]["routeKey"] = route.key
    event["requestContext"]["http"]["sourceIp"] = headers.get("x-forwarded-for", "127.0.0.1")
    return handler(event, None)


@pytest.mark.parametrize("claims", CLAIMS, ids=lambda claims: str(getattr(claims, "scope", "agent")).partition(":")[0])
@pytest.mark.parametrize("route", [route for route in ROUTES if route.audience], ids=lambda route: str(route.key))
def test_an_answer_holds_for_every_request_of_the_token_on_the_route(
    keys: Keys, route: Route, claims: AgentClaims | OperatorClaims
) -> None:
    token = issue(claims, keys)
    own = _ask(route, token, claims.sub, {}, {})
    assert own == _ask(route, token, "another", {}, {"limit": "1"})
    assert own == _ask(route, token, "1", {"x-forwarded-for": "192.0.2.1", "user-agent": "curl", "cookie": "a=b"}, {})
