"""The served OpenAPI document holds for the server that serves it, whoever asks and whatever they send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode

from contracts.claims import Audience
from contracts.routes import ROUTES, Route
from functions.authorizer.authority import create
from functions.authorizer.keys import load
from functions.authorizer.tokens import issue
from infra.standalone.embedded import EmbeddedPostgres
from tests.functions.events import agent_claims, operator_claims
from tests.functions.identities import Agent
from tests.infra.standalone.sending import Sender
from tests.infra.standalone.serving import Serving, batch, loaded, new_store, serving, until
from tests.s3 import S3, SERVER

pytestmark = pytest.mark.processes

#: Requests of each mode of whoever may call a route. Everybody else makes one, which is right but for who makes it.
EXAMPLES = 8

CONFIG = {
    "checks": {
        "negative_data_rejection": {"expected-statuses": ["4xx"]},  # 413 and 431, too
        "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "401", "403", "404", "409", "429"]},
    },
    "generation": {"allow-extra-parameters": False},  # a parameter that no route knows is not read
}


@schemathesis.serializer("application/gzip")
def _bytes(_context: schemathesis.SerializationContext, value: object) -> bytes:
    data: bytes = getattr(value, "data", b"") or str(value).encode(errors="replace")
    return data


@dataclass(frozen=True)
class Served:
    url: str
    schema: Any
    tokens: dict[str, str | None]
    sender: Sender

    def operation(self, route: Route) -> APIOperation[Any, Any, Any, Any]:
        found: APIOperation[Any, Any, Any, Any] = self.schema[route.path][route.method]
        return found

    def headers(self, who: str) -> dict[str, str]:
        token = self.tokens[who]
        return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def served(server: EmbeddedPostgres, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, dsn = tmp_path_factory.mktemp("served"), new_store(server)
    authority = folder / "authority.pem"
    authority.touch(0o600)
    authority.write_text(create("test", 30, datetime.now(UTC)))
    options = ("--authority-file", authority, "--agent-rate", "0", "--address-rate", "0")
    bucket = ("--bucket-url", f"s3://{s3.new_bucket()}")
    environment: dict[str, Any] = {**s3.environment(SERVER)}
    with serving(folder, dsn, *options, *bucket, **environment) as running:
        tokens = _tokens(running.keys_file)
        yield Served(running.url, _schema(running), tokens, _at_home(running, tokens, dsn))


def _at_home(running: Serving, tokens: dict[str, str | None], dsn: str) -> Sender:
    """A fleet of more than one of everything, so that lists have pages."""
    sender = Sender(running.url, tokens, Agent("db-1"), "")
    for name in ("one", "two"):
        sender.ask("admin", "PUT", f"/v1/documents/agent:{name}", {"document": {}})
        sender.ask("admin", "POST", "/v1/users", {"name": name, "role": "viewer", "password": "a-good-password"})
        asked = sender.ask("operator", "POST", "/v1/enrolments", {"uses": 1000})
        sender.enrolment = json.loads(asked.data)["token"]
    for name in ("db-1", "db-2"):
        assert running.post(batch(agent_id=name), running.token("--agent", name)).status == 202
    until(lambda: loaded(dsn) == 2)
    headers = {"Authorization": f"Bearer {sender.enrolment}", "Content-Type": "application/json"}
    csr = json.dumps({"csr": sender.agent.csr()}).encode()
    assert running.request("POST", "/v1/agents", csr, headers).status == 201
    return sender


def _schema(running: Serving) -> Any:
    config = schemathesis.Config.from_dict(CONFIG)
    return schemathesis.openapi.from_url(f"{running.url}/v1/openapi.json", config=config)


def _tokens(keys_file: Path) -> dict[str, str | None]:
    keys = load(keys_file)
    operators = {role: issue(operator_claims(role), keys) for role in ("viewer", "operator", "admin")}
    return {"nobody": None, "agent": issue(agent_claims("db-1"), keys), **operators}


def _may(who: str, route: Route) -> bool:
    if route.audience is None:
        return who == "nobody"
    if route.audience is Audience.AGENT:
        return who == "agent"
    return route.role is not None and who == route.role.name.lower()


@pytest.mark.parametrize("who", ["nobody", "agent", "viewer", "operator", "admin"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_a_route_answers_as_it_is_documented(served: Served, route: Route, who: str) -> None:
    """Every check that schemathesis has: no server error, no status, media type, header or body that is not told of,
    no wrong data taken, no right data refused, no token ignored."""
    operation, headers = served.operation(route), served.headers(who)
    for mode in GenerationMode if _may(who, route) else [GenerationMode.POSITIVE]:

        @settings(
            max_examples=EXAMPLES if _may(who, route) else 1,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def holds(case: Case[Any]) -> None:
            if case.meta and case.meta.generation.mode.is_positive:
                served.sender.prepare(case)
            case.call_and_validate(base_url=served.url, headers=headers)

        try:
            holds()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "there is nothing to send"  # nor anything to get wrong
