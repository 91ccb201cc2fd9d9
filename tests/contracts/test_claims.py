"""A token is an agent's or an operator's, never something between."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.claims import CLAIMS, ISSUER, TOKEN_SECONDS, AgentClaims, Audience, OperatorClaims, Role

_TIMES = {"iss": ISSUER, "iat": 1000, "nbf": 1000, "exp": 1000 + TOKEN_SECONDS, "jti": "0123456789abcdef"}
AGENT = {**_TIMES, "aud": "pganalytics-agent", "sub": "db-117", "scope": "batches:write config:read"}
BOUND = {**AGENT, "cnf": {"x5t#S256": "A" * 43}}
OPERATOR = {**_TIMES, "aud": "pganalytics-operator", "sub": "ada@example.org", "scope": "operator"}


def test_the_audience_decides_what_the_claims_are() -> None:
    assert isinstance(CLAIMS.validate_python(AGENT), AgentClaims)
    assert isinstance(CLAIMS.validate_python(OPERATOR), OperatorClaims)


@pytest.mark.parametrize("claims", [AGENT, BOUND, OPERATOR], ids=["agent", "bound", "operator"])
def test_claims_survive_json(claims: dict[str, Any]) -> None:
    found = CLAIMS.validate_python(claims)
    assert CLAIMS.validate_json(found.model_dump_json()) == found
    assert found.model_dump(mode="json") == claims


@pytest.mark.parametrize(("scope", "role"), [("viewer", 1), ("operator", 2), ("admin", 3)])
def test_a_role_may_do_what_lower_ones_may(scope: str, role: int) -> None:
    claims = CLAIMS.validate_python({**OPERATOR, "scope": scope})
    assert isinstance(claims, OperatorClaims)
    assert claims.role == role
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN


def test_audiences_differ() -> None:
    assert len({audience.value for audience in Audience}) == 2


@pytest.mark.parametrize("claims", [AGENT, OPERATOR], ids=["agent", "operator"])
@pytest.mark.parametrize(
    "change",
    [
        {"iss": "another"},
        {"aud": "another"},
        {"aud": ["pganalytics-agent"]},
        {"aud": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "../a"},
        {"sub": "a\n"},
        {"scope": "everything"},
        {"scope": ""},
        {"exp": "1900"},
        {"exp": 1900.0},
        {"exp": True},
        {"exp": -1},
        {"exp": 10**18},
        {"exp": 999},
        {"jti": "short"},
        {"jti": "x" * 65},
        {"admin": True},
    ],
    ids=str,
)
def test_other_claims_are_refused(claims: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CLAIMS.validate_python({**claims, **change})


@pytest.mark.parametrize(
    "cnf", [{}, {"x5t#S256": "A" * 42}, {"x5t#S256": "A" * 43, "jkt": "A"}, {"x5t_s256": "A" * 43}, "A"]
)
def test_a_token_is_bound_to_one_certificate_or_to_none(cnf: object) -> None:
    with pytest.raises(ValidationError):
        CLAIMS.validate_python({**AGENT, "cnf": cnf})
    with pytest.raises(ValidationError):
        CLAIMS.validate_python({**OPERATOR, "cnf": BOUND["cnf"]})


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"])
def test_a_missing_claim_is_refused(missing: str) -> None:
    with pytest.raises(ValidationError):
        CLAIMS.validate_python({name: value for name, value in AGENT.items() if name != missing})


def test_an_agents_token_cannot_be_turned_into_an_operators() -> None:
    with pytest.raises(ValidationError):
        CLAIMS.validate_python({**AGENT, "aud": Audience.OPERATOR})
    with pytest.raises(ValidationError):
        CLAIMS.validate_python({**OPERATOR, "aud": Audience.AGENT})


def test_an_operators_scope_cannot_be_left_out() -> None:
    with pytest.raises(ValidationError, match="scope"):
        CLAIMS.validate_python({name: value for name, value in OPERATOR.items() if name != "scope"})
