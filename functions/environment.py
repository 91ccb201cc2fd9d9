"""Reads a function's settings from environment variables, once, with errors that name the variable.

A secret setting may stand in Secrets Manager: then `PGANALYTICS_STORE_DSN_SECRET` has its name, in the place of
`PGANALYTICS_STORE_DSN` with its value.
"""

from __future__ import annotations

import os
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from functions.secret import SecretError, read_secret

PREFIX = "PGANALYTICS_"
SECRET = "_SECRET"  # noqa: S105 - the end of a name


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
    found = {name: os.environ[variable(name)] for name in model.model_fields if variable(name) in os.environ}
    found |= {name: _secret(name) for name in secrets(model) if variable(name) + SECRET in os.environ}
    try:
        return model.model_validate(found)
    except ValidationError as error:
        wrong = [
            f"{variable(str(each['loc'][0])) if each['loc'] else model.__name__}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        raise EnvironmentVariableError("; ".join(wrong)) from None


def secrets(model: type[Environment]) -> tuple[str, ...]:
    """The fields whose values may stand in Secrets Manager."""
    return tuple(name for name, field in model.model_fields.items() if field.annotation is SecretStr)


def _secret(field: str) -> str:
    name = variable(field) + SECRET
    if variable(field) in os.environ:
        raise EnvironmentVariableError(f"{variable(field)}, {name}: both are set; keep one")
    try:
        return read_secret(os.environ[name])
    except SecretError as error:
        raise EnvironmentVariableError(f"{name}: {error}") from error


def variable(field: str) -> str:
    """The environment variable that a field is read from."""
    return PREFIX + field.upper()
