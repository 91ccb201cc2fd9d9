"""Every route of the HTTP API: who may call it, and which function answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from contracts.claims import Audience, Role


@dataclass(frozen=True)
class Route:
    """One route. `audience` None is open to anyone; `role` is the least an operator needs.

    `path` has its parameters in braces, as API Gateway writes them.
    """

    method: str
    path: str
    function: str
    audience: Audience | None = None
    role: Role | None = None

    @property
    def key(self) -> str:
        """API Gateway's route key, such as `GET /v1/targets/{id}`."""
        return f"{self.method} {self.path}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/batches", "ingest", Audience.AGENT),
    Route("POST", "/v1/uploads", "ingest", Audience.AGENT),
    Route("GET", "/v1/config", "config", Audience.AGENT),
    Route("GET", "/v1/agents", "query", Audience.OPERATOR, Role.VIEWER),
    Route("GET", "/v1/agents/{id}/coverage", "query", Audience.OPERATOR, Role.VIEWER),
    Route("GET", "/v1/targets", "query", Audience.OPERATOR, Role.VIEWER),
    Route("GET", "/v1/targets/{id}", "query", Audience.OPERATOR, Role.VIEWER),
    Route("GET", "/v1/targets/{id}/metrics", "query", Audience.OPERATOR, Role.VIEWER),
    Route("POST", "/v1/agents", "identity"),
    Route("DELETE", "/v1/agents/{id}", "identity", Audience.OPERATOR, Role.ADMIN),
    Route("POST", "/v1/token", "identity"),
    Route("POST", "/v1/certificate", "identity", Audience.AGENT),
    Route("GET", "/v1/enrolments", "identity", Audience.OPERATOR, Role.OPERATOR),
    Route("POST", "/v1/enrolments", "identity", Audience.OPERATOR, Role.OPERATOR),
    Route("DELETE", "/v1/enrolments/{id}", "identity", Audience.OPERATOR, Role.OPERATOR),
    Route("POST", "/v1/auth/login", "identity"),
    Route("POST", "/v1/auth/refresh", "identity"),
    Route("POST", "/v1/auth/logout", "identity"),
    Route("PUT", "/v1/auth/password", "identity", Audience.OPERATOR, Role.VIEWER),
    Route("GET", "/v1/users", "identity", Audience.OPERATOR, Role.ADMIN),
    Route("POST", "/v1/users", "identity", Audience.OPERATOR, Role.ADMIN),
    Route("PATCH", "/v1/users/{name}", "identity", Audience.OPERATOR, Role.ADMIN),
    Route("PUT", "/v1/users/{name}/password", "identity", Audience.OPERATOR, Role.ADMIN),
    Route("GET", "/v1/audit", "identity", Audience.OPERATOR, Role.ADMIN),
    Route("GET", "/v1/health", "query"),
    Route("GET", "/v1/version", "query"),
    Route("GET", "/v1/openapi.json", "query"),
)


def find(method: str, path: str) -> Route | None:
    """The route that a request takes."""
    return next((route for route in ROUTES if route.method == method and route.pattern.fullmatch(path)), None)


def methods(path: str) -> tuple[str, ...]:
    """The methods that a path knows; none: there is no such path."""
    return tuple(route.method for route in ROUTES if route.pattern.fullmatch(path))
