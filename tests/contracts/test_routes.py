"""Every request takes one route at most, and every route says who may call it."""

from __future__ import annotations

import pytest

from contracts.claims import Audience
from contracts.routes import ROUTES, Route, find, methods

#: Anybody may ask these; whoever adds a route to them does so on purpose. Those that change something ask for a proof
#: of their own: an enrolment token, an assertion, a password, a refresh token.
OPEN = {"GET /v1/health", "GET /v1/version", "GET /v1/openapi.json"}
OPEN |= {"POST /v1/agents", "POST /v1/token", "POST /v1/auth/login", "POST /v1/auth/refresh", "POST /v1/auth/logout"}


def _example(route: Route) -> str:
    return route.path.replace("{id}", "7").replace("{", "x-").replace("}", "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_a_route_finds_itself(route: Route) -> None:
    assert find(route.method, _example(route)) is route
    assert route.method in methods(_example(route))


def test_no_request_can_take_two_routes() -> None:
    for route in ROUTES:
        found = [other.key for other in ROUTES if other.method == route.method and _meet(route.path, other.path)]
        assert found == [route.key]


def _meet(one: str, other: str) -> bool:
    """Whether some path fits both: a parameter stands for any one segment."""
    left, right = one.split("/"), other.split("/")
    return len(left) == len(right) and all(
        a == b or a.startswith("{") or b.startswith("{") for a, b in zip(left, right, strict=True)
    )


def test_what_is_open_to_anybody_is_open_on_purpose() -> None:
    assert {route.key for route in ROUTES if route.audience is None} == OPEN


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_operators_need_a_role_and_nobody_else_has_one(route: Route) -> None:
    assert (route.role is not None) == (route.audience is Audience.OPERATOR)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_paths_carry_the_version_of_the_api(route: Route) -> None:
    assert route.path.startswith("/v1/")
    assert route.path == route.path.rstrip("/")
    assert route.method == route.method.upper()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/targets/"),
        ("GET", "/v1/targets//metrics"),
        ("GET", "/v1/targets/1/metrics/x"),
        ("GET", "/v1/batches"),
        ("get", "/v1/health"),
        ("GET", "/V1/health"),
        ("GET", "/v1/openapiXjson"),
        ("GET", "/v1/health\n"),
        ("GET", "//v1/health"),
    ],
)
def test_what_is_no_route_is_not_found(method: str, path: str) -> None:
    assert find(method, path) is None


def test_a_known_path_tells_its_methods() -> None:
    assert methods("/v1/batches") == ("POST",)
    assert methods("/v1/nonesuch") == ()


def test_a_routes_key_is_that_of_api_gateway() -> None:
    route = find("GET", "/v1/targets/12/metrics")
    assert route is not None
    assert route.key == "GET /v1/targets/{id}/metrics"
    match = route.pattern.fullmatch("/v1/targets/12/metrics")
    assert match is not None
    assert match["id"] == "12"
