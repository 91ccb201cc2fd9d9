"""What the routes of the configuration work with: their settings, the store, and parameters that many have."""

from __future__ import annotations

import functools
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import SecretStr

from functions.environment import Environment, read
from functions.pages import MAX_CURSOR, MAX_ITEMS
from functions.store import Store

Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Items of a page.")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")]
Agent = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9._-]+$", description="Id of an agent.")]


class ConfigEnvironment(Environment):
    store_dsn: SecretStr


@functools.cache
def store() -> Store:
    return Store(read(ConfigEnvironment).store_dsn, "pganalytics config")
