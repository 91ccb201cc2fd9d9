from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from contracts.claims import CLAIMS, AgentClaims, OperatorClaims
from contracts.routes import ROUTES
from functions.authorizer.handler import handler, logger
from functions.authorizer.keys import Keys, dump, generate, load
from functions.authorizer.permit import permitted
from functions.authorizer.tokens import issue
from functions.http import HttpApi, caller
from tests.functions.events import agent_claims, operator_claims, request

DENIED = {"isAuthorized": False, "context": {}}


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    file = tmp_path / "keys.json"
    file.write_text(dump([generate()]))
    file.chmod(0o600)
    monkeypatch.setenv("PGANALYTICS_KEYS_FILE", str(file))
    return load(file)


def _ask(token: str, method: str = "GET", path: str = "/v1/config", header: str = "authorization") -> dict[str, Any]:
    return handler(request(method, path, headers={header: f"Bearer {token}"}), None)


@pytest.mark.parametrize("header", ["authorization", "Authorization"])
def test_an_agent_may_read_its_configuration(keys: Keys, header: str) -> None:
    claims = agent_claims()
    answer = _ask(issue(claims, keys), header=header)
    assert answer["isAuthorized"] is True
    assert CLAIMS.validate_python(answer["context"]) == claims


def test_audiences_do_not_open_each_others_routes(keys: Keys) -> None:
    assert _ask(issue(operator_claims("admin"), keys)) == DENIED
    assert _ask(issue(agent_claims(), keys), path="/v1/targets") == DENIED
    assert _ask(issue(operator_claims("viewer"), keys), path="/v1/targets")["isAuthorized"] is True


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/unknown"), ("DELETE", "/v1/config"), ("GET", "/v1/targets/1/2")]
)
def test_no_token_opens_what_is_no_route(keys: Keys, method: str, path: str) -> None:
    assert _ask(issue(agent_claims(), keys), method, path) == DENIED
    assert _ask(issue(operator_claims("admin"), keys), method, path) == DENIED


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer \u00e9"},
    ],
)
def test_a_request_without_a_token_is_denied(headers: dict[str, str]) -> None:
    assert handler(request("GET", "/v1/config", headers=headers), None) == DENIED


def test_two_tokens_are_none(keys: Keys) -> None:
    token = f"Bearer {issue(agent_claims(), keys)}"
    assert handler(request("GET", "/v1/config", headers={"authorization": f"{token},{token}"}), None) == DENIED
    assert (
        handler(request("GET", "/v1/config", headers={"authorization": token, "Authorization": token}), None) == DENIED
    )


def test_an_expired_token_is_denied(keys: Keys) -> None:
    assert _ask(issue(agent_claims(now=int(time.time()) - 900), keys)) == DENIED


@pytest.mark.parametrize("event", [{}, {"headers": None}, {"headers": {"authorization": 1}}, [], None])
def test_every_error_is_a_deny(event: Any) -> None:
    assert handler(event, None) == DENIED


def test_without_keys_everything_is_denied(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_KEYS_FILE", "/nowhere/keys.json")
    assert _ask(issue(agent_claims(), keys)) == DENIED


def test_without_its_environment_everything_is_denied(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGANALYTICS_KEYS_FILE")
    assert _ask(issue(agent_claims(), keys)) == DENIED


def test_the_log_has_the_reason_and_never_the_token(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(logger, "warning", lambda message, extra: logged.append(f"{message} {extra}"))
    token = issue(agent_claims(now=1), keys)
    _ask(token)
    assert "expired" in logged[0]
    assert not any(part in logged[0] for part in token.split("."))


def test_no_other_method_opens_a_path() -> None:
    paths = {re.sub(r"\{\w+\}", "7", route.path) for route in ROUTES}
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    for method, path in itertools.product(methods, paths):
        if not any(route.method == method and route.pattern.fullmatch(path) for route in ROUTES):
            assert not permitted(method, path, operator_claims("admin"))
            assert not permitted(method, path, agent_claims())


@pytest.fixture
def _policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_AUTHORIZER_ANSWER", "policy")


ARN = "arn:aws:execute-api:eu-central-1:123456789012:abcdef/$default/GET/v1/config"
NOBODY = {
    "principalId": "nobody",
    "policyDocument": {
        "Version": "2012-10-17",
        "Statement": [{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "*"}],
    },
    "context": {},
}


@pytest.mark.usefixtures("_policies")
@pytest.mark.parametrize("claims", [agent_claims(), operator_claims()])
def test_a_policy_allows_the_one_request(keys: Keys, claims: AgentClaims | OperatorClaims) -> None:
    path = "/v1/config" if isinstance(claims, AgentClaims) else "/v1/targets"
    event = request("GET", path, headers={"authorization": f"Bearer {issue(claims, keys)}"})
    answer = handler(event | {"routeArn": ARN}, None)
    assert answer["principalId"] == claims.sub
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": ARN}
    assert answer["policyDocument"] == {"Version": "2012-10-17", "Statement": [statement]}
    assert all(isinstance(value, str) for value in answer["context"].values())
    behind = request("GET", path)
    behind["requestContext"]["authorizer"] = {"lambda": answer["context"]}
    assert caller(_Api(behind)) == claims


class _Api(HttpApi):
    """A resolver in the middle of an event."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__()
        self._local.event = APIGatewayProxyEventV2(event)


@pytest.mark.usefixtures("_policies")
def test_a_policy_denies_what_is_denied(keys: Keys) -> None:
    good = {"authorization": f"Bearer {issue(agent_claims(), keys)}"}
    assert handler(request("GET", "/v1/targets", headers=good) | {"routeArn": ARN}, None) == NOBODY
    assert handler(request("GET", "/v1/config") | {"routeArn": ARN}, None) == NOBODY
    strange: list[Any] = [{}, {"routeArn": 1}, [], None]
    for event in strange:
        assert handler(event, None) == NOBODY


@pytest.mark.usefixtures("_policies")
@pytest.mark.parametrize("arn", [None, 1, "*", ARN + "/*", ARN + "?"])
def test_a_policy_without_one_route_allows_nothing(keys: Keys, arn: Any) -> None:
    event = request("GET", "/v1/config", headers={"authorization": f"Bearer {issue(agent_claims(), keys)}"})
    assert handler(event | {"routeArn": arn}, None) == NOBODY


def test_an_unknown_kind_of_answer_denies_everything(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_AUTHORIZER_ANSWER", "always")
    assert _ask(issue(agent_claims(), keys)) == DENIED
