"""The configuration: what agents pull, and what operators say. Its routes stand in modules of their own."""

from __future__ import annotations

from typing import Any

from functions.config import config_routes, releases_routes
from functions.http import HttpApi

api = HttpApi()
api.include_router(config_routes.router)
api.include_router(releases_routes.router)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
