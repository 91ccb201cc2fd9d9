"""The configuration: what agents pull, and what operators say. Its routes stand in modules of their own."""

from __future__ import annotations

from typing import Any

from functions.config import config_routes, documents_routes, fleet_routes, releases_routes
from functions.http import HttpApi

api = HttpApi()
for part in (config_routes, documents_routes, fleet_routes, releases_routes):
    api.include_router(part.router)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
