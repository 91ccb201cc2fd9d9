"""Reads a function's settings from environment variables, once, with errors that name the variable.

A secret setting such as `store_dsn` stands in one of these places:

- `PGANALYTICS_STORE_DSN` has its value;
- `PGANALYTICS_STORE_DSN_FILE` names a file that only its owner reads;
- `PGANALYTICS_STORE_DSN_SECRET` names a secret in Secrets Manager;
- where none of these is set, systemd's credential `pganalytics.store_dsn` has it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from functions.secret import SecretError, credential, read_secret, read_secret_file

PREFIX = "PGANALYTICS_"
FILE, SECRET = "_FILE", "_SECRET"


class EnvironmentVariableError(Exception):
    """A variable is missing or wrong; the message names it and never shows its value."""


class Environment(BaseModel):
    """A function's settings: the field `store_dsn` is read from `PGANALYTICS_STORE_DSN`."""

    model_config = ConfigDict(frozen=True, extra="ignore")


E = TypeVar("E", bound=Environment)


def read(model: type[E]) -> E:
    """The settings of this process.

    Raises:
        EnvironmentVariableError: naming every variable that is missing or wrong, or the secret that cannot be read.
    """
    hidden = {name: secret(name) for name in secrets(model)}
    found = {name: os.environ[variable(name)] for name in model.model_fields if variable(name) in os.environ}
    found |= {name: value for name, value in hidden.items() if value is not None}
    try:
        return model.model_validate(found)
    except ValidationError as error:
        wrong = [
            f"{variable(str(each['loc'][0])) if each['loc'] else model.__name__}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        raise EnvironmentVariableError("; ".join(wrong)) from None


def secrets(model: type[Environment]) -> tuple[str, ...]:
    """The fields whose values may stand elsewhere than in the environment."""
    return tuple(name for name, field in model.model_fields.items() if field.annotation is SecretStr)


def secret(field: str) -> str | None:
    """The value of a secret setting, wherever it stands; None: nowhere.

    Raises:
        EnvironmentVariableError: it cannot be read, or two places have one.
    """
    told = [name for name in sources(field) if name in os.environ]
    if len(told) > 1:
        raise EnvironmentVariableError(f"{', '.join(told)}: {'both' if len(told) == 2 else 'all'} are set; keep one")
    file = credential(f"{PREFIX.lower().rstrip('_')}.{field}")
    try:
        if not told:
            return None if file is None else read_secret_file(file)
        if told[0].endswith(SECRET):
            return read_secret(os.environ[told[0]])
        if told[0].endswith(FILE):
            return read_secret_file(Path(os.environ[told[0]]))
    except SecretError as error:
        raise EnvironmentVariableError(f"{told[0]}: {error}" if told else str(error)) from error
    return os.environ[told[0]]


def sources(field: str) -> tuple[str, str, str]:
    """The variables that say a secret setting: its value, its file, its name in Secrets Manager."""
    return variable(field), variable(field) + FILE, variable(field) + SECRET


def variable(field: str) -> str:
    """The environment variable that a field is read from."""
    return PREFIX + field.upper()
