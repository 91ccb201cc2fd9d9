"""Where the keys of access tokens are, for the authorizer and for whoever issues tokens."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Self

from pydantic import model_validator

from functions.authorizer.keys import Keys, load
from functions.authorizer.secret_keys import AGAIN_SECONDS, SecretKeys
from functions.environment import Environment, variable


class KeysEnvironment(Environment):
    """The keys are in a file, or in the secret of that name."""

    keys_file: Path | None = None
    keys_secret: str | None = None
    bind_tokens: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.keys_file is None) == (self.keys_secret is None):
            raise ValueError(f"set one of {variable('keys_file')} and {variable('keys_secret')}")
        return self

    def keys(self, now: float, patience: float = AGAIN_SECONDS) -> Keys:
        """The keys at `now`, in seconds since 1970: those of the file, or of the secret as of `patience` seconds ago.

        Raises:
            KeysError: they cannot be used.
        """
        if self.keys_file is not None:
            return load(self.keys_file)
        return secret_keys(self.keys_secret or "").load(now, patience)


@functools.cache
def secret_keys(name: str) -> SecretKeys:
    return SecretKeys(name)
