"""The door where agents and operators prove who they are: its routes stand in modules of their own, one each."""

from __future__ import annotations

from typing import Any

from functions.authorizer import agents_routes, operators_routes
from functions.http import HttpApi

api = HttpApi()
api.include_router(agents_routes.router)
api.include_router(operators_routes.router)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
