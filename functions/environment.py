"""Reads a function's settings from environment variables, once, with errors that name the variable."""

from __future__ import annotations

import os
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

PREFIX = "PGANALYTICS_"


class EnvironmentVariableError(Exception):
    """A variable is missing or wrong; the message names it and never shows its value."""


class Environment(BaseModel):
    """A function's settings: the field `store_dsn` is read from `PGANALYTICS_STORE_DSN`."""

    model_config = ConfigDict(frozen=True, extra="ignore")


E = TypeVar("E", bound=Environment)


def read(model: type[E]) -> E:
    """The settings of this process.

    Raises:
        EnvironmentVariableError: naming every variable that is missing or wrong.
    """
    found = {name: os.environ[variable(name)] for name in model.model_fields if variable(name) in os.environ}
    try:
        return model.model_validate(found)
    except ValidationError as error:
        wrong = [
            f"{variable(str(each['loc'][0])) if each['loc'] else model.__name__}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        raise EnvironmentVariableError("; ".join(wrong)) from None


def variable(field: str) -> str:
    """The environment variable that a field is read from."""
    return PREFIX + field.upper()
