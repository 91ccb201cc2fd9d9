"""What the door's routes work with: its settings, the store, the keys, the authority."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Self

from pydantic import model_validator

from functions.authorizer.authority import Authority, AuthorityError, load, parse
from functions.authorizer.key_source import KeysEnvironment
from functions.authorizer.keys import Keys
from functions.authorizer.secret_keys import SecretValue
from functions.environment import read, variable
from functions.store import Store, StoreEnvironment


class DoorEnvironment(KeysEnvironment, StoreEnvironment):
    """Without an authority nobody can enrol, or exchange an assertion for a token."""

    authority_file: Path | None = None
    authority_secret: str | None = None

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
    return environment().store("pganalytics identity")


def keys() -> Keys:
    """The keys of access tokens; the first signs.

    Raises:
        KeysError: they cannot be used.
    """
    return environment().keys(time.time())


def authority() -> Authority | None:
    """Who signs agents' certificates; None: this server has nobody who does.

    Raises:
        AuthorityError: it cannot be used.
    """
    file, name = environment().authority_file, environment().authority_secret
    if file is not None:
        return load(file)
    return None if name is None else _secret_authority(name).load(time.time())


@functools.cache
def _secret_authority(name: str) -> SecretValue[Authority]:
    return SecretValue(name, parse, AuthorityError)
