"""What the routes of the configuration work with: their settings and the store."""

from __future__ import annotations

import functools

from pydantic import SecretStr

from functions.environment import Environment, read
from functions.store import Store


class ConfigEnvironment(Environment):
    store_dsn: SecretStr


@functools.cache
def store() -> Store:
    return Store(read(ConfigEnvironment).store_dsn, "pganalytics config")
