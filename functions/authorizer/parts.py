"""What the door's routes work with: its settings, the store, the keys."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Self

from pydantic import SecretStr, model_validator

from functions.authorizer.key_source import KeysEnvironment
from functions.authorizer.keys import Keys
from functions.environment import read, variable
from functions.store import Store


class DoorEnvironment(KeysEnvironment):
    """Without an authority nobody can enrol; with `bind_tokens` an agent gets a token over mTLS only."""

    store_dsn: SecretStr
    authority_file: Path | None = None
    authority_secret: str | None = None
    bind_tokens: bool = False

    @model_validator(mode="after")
    def _one_authority(self) -> Self:
        if self.authority_file is not None and self.authority_secret is not None:
            raise ValueError(f"set one of {variable('authority_file')} and {variable('authority_secret')}")
        return self


@functools.cache
def environment() -> DoorEnvironment:
    return read(DoorEnvironment)


@functools.cache
def store() -> Store:
    return Store(environment().store_dsn, "pganalytics identity")


def keys() -> Keys:
    """The keys of access tokens; the first signs.

    Raises:
        KeysError: they cannot be used.
    """
    return environment().keys(time.time())
