"""What the routes of the configuration work with: their settings, the store, and parameters that many have."""

from __future__ import annotations

import functools
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from functions.environment import read
from functions.pages import MAX_CURSOR, MAX_ITEMS
from functions.store import Store, StoreEnvironment

Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Items of a page.")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")]
Agent = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9._-]+$", description="Id of an agent.")]


class ConfigEnvironment(StoreEnvironment):
    pass


@functools.cache
def store() -> Store:
    return read(ConfigEnvironment).store("pganalytics config")
