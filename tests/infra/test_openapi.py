from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.limits import BIGINT_MAX
from contracts.routes import ROUTES, Route
from functions.query import handler as query
from infra.openapi import document, text


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document()


def _operation(made: dict[str, Any], route: Route) -> dict[str, Any]:
    found: dict[str, Any] = made["paths"][route.path][route.method.lower()]
    return found


def test_the_file_is_what_the_functions_declare() -> None:
    """Write it anew: python -m infra.openapi > functions/query/openapi.json"""
    file = Path(query.__file__).with_name("openapi.json")
    assert file.read_text() == text()


def test_the_document_has_every_route_and_no_other(made: dict[str, Any]) -> None:
    found = {f"{method.upper()} {path}" for path, operations in made["paths"].items() for method in operations}
    assert found == {route.key for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_a_route_says_who_may_call_it(made: dict[str, Any], route: Route) -> None:
    operation = _operation(made, route)
    assert operation["security"] == ([{"token": []}] if route.audience else [])
    assert ({"401", "403"} <= operation["responses"].keys()) is (route.audience is not None)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_every_error_is_problem_details(made: dict[str, Any], route: Route) -> None:
    for status, answer in _operation(made, route)["responses"].items():
        if int(status) >= 400:
            schema = answer["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, status


def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    written = json.dumps(made)
    names = {part.split('"')[0] for part in written.split("#/components/schemas/")[1:]}
    assert names == made["components"]["schemas"].keys()


def test_operations_have_names_of_their_own(made: dict[str, Any]) -> None:
    ids = [_operation(made, route)["operationId"] for route in ROUTES]
    assert len(set(ids)) == len(ids)


def test_a_bound_of_a_whole_number_is_the_one_that_is_kept(made: dict[str, Any]) -> None:
    """As a fraction, the largest bigint is a number that no bigint can be."""
    bounds = [bound for schema in _integers(made) for name, bound in schema.items() if name.endswith("imum")]
    assert BIGINT_MAX in bounds
    assert {type(bound) for bound in bounds} == {int}
    assert max(bounds) == BIGINT_MAX


def _integers(found: object) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        if found.get("type") == "integer":
            yield found
        found = list(found.values())
    if isinstance(found, list):
        for each in found:
            yield from _integers(each)
