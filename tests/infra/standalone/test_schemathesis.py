"""The served OpenAPI document holds for the server that serves it, whoever asks and whatever they send."""

from __future__ import annotations

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
from schemathesis.checks import CHECKS

from contracts.claims import Audience
from contracts.routes import ROUTES, Route
from functions.authorizer.authority import create
from functions.authorizer.keys import load
from functions.authorizer.tokens import issue
from infra.standalone.embedded import EmbeddedPostgres
from tests.functions.events import agent_claims, operator_claims
from tests.infra.standalone.serving import Serving, new_store, serving

pytestmark = pytest.mark.processes

#: Requests of each mode of whoever may call a route. Everybody else makes one, which is right but for who makes it.
EXAMPLES = 8

CONFIG = {
    "checks": {
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", 501, 503]},
        "negative_data_rejection": {"expected-statuses": ["4xx", 501, 503]},  # 413 and 431, too
    },
    "generation": {"allow-extra-parameters": False},  # a parameter that no route knows is not read
}

_CURSOR = "a cursor is one that the route gave"
_INTEGER = "an integer is one by how it is written: 1.0 is none, but is to a schema"
_DOCUMENT = "a document has the keys that there are, and who saves it names the version that it follows"

#: Where what a schema allows may still be wrong, and why.
UNSAID = {
    "POST /v1/batches": "the body is a batch",
    "POST /v1/agents": "a CSR is one by its signature",
    "POST /v1/certificate": "a CSR is one by its signature",
    "POST /v1/uploads": _INTEGER,
    "POST /v1/enrolments": _INTEGER,
    "PATCH /v1/users/{name}": "null changes nothing",
    "GET /v1/agents": _CURSOR,
    "GET /v1/targets": _CURSOR,
    "GET /v1/enrolments": _CURSOR,
    "GET /v1/users": _CURSOR,
    "GET /v1/audit": _CURSOR,
    "GET /v1/documents": _CURSOR,
    "GET /v1/documents/{scope}/versions": _CURSOR,
    "GET /v1/documents/{scope}/versions/{version}": _INTEGER,
    "GET /v1/documents/{scope}/diff": _INTEGER,
    "GET /v1/configuration": _CURSOR,
    "GET /v1/releases": _CURSOR,
    "PUT /v1/documents/{scope}": _DOCUMENT,
    "POST /v1/documents/validate": _DOCUMENT,
    "POST /v1/documents/{scope}/rollback": _DOCUMENT,
    "PUT /v1/agents/{id}/labels": _INTEGER,
    "POST /v1/releases": _INTEGER,
    "GET /v1/agents/{id}/coverage": "of two instants one is the earlier, and not long before",
    "GET /v1/targets/{id}/metrics": "of two instants one is the earlier, and not long before",
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

    def operation(self, route: Route) -> APIOperation[Any, Any, Any, Any]:
        found: APIOperation[Any, Any, Any, Any] = self.schema[route.path][route.method]
        return found

    def headers(self, who: str) -> dict[str, str]:
        token = self.tokens[who]
        return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def served(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    authority = folder / "authority.pem"
    authority.touch(0o600)
    authority.write_text(create("test", 30, datetime.now(UTC)))
    rates = ("--agent-rate", "0", "--address-rate", "0")
    with serving(folder, new_store(server), "--authority-file", authority, *rates) as running:
        yield Served(running.url, _schema(running), _tokens(running.keys_file))


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
    excluded: list[Any] = [CHECKS.get_one("positive_data_acceptance")] if route.key in UNSAID else []
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
            case.call_and_validate(base_url=served.url, headers=headers, excluded_checks=excluded)

        try:
            holds()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "there is nothing to send"  # nor anything to get wrong
