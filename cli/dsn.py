"""Where a command learns how to reach the store: never from its command line, which every account can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr, TypeAdapter, ValidationError

from cli.ending import fail
from functions.environment import EnvironmentVariableError, read, secret, variable
from functions.secret import SecretError, read_secret_file
from functions.store import StoreEnvironment
from infra.standalone.dsn import StoreDsn

VARIABLE = variable("store_dsn")

DsnFile = Annotated[
    Path | None,
    typer.Option(
        "--store-dsn-file",
        help=f"File with the store's connection string, readable by its owner only. Without it, {VARIABLE}, "
        f"{VARIABLE}_FILE, {VARIABLE}_SECRET or systemd's credential pganalytics.store_dsn says it.",
    ),
]


Into = Annotated[
    str | None,
    typer.Option(
        "--into", metavar="DSN", help="Another database in the store's place; a connection string without a password."
    ),
]
IntoFile = Annotated[
    Path | None,
    typer.Option(
        "--into-file", envvar="PGANALYTICS_INTO_FILE", help="File with the connection string of that other database."
    ),
]

_SECRETS = ("password", "sslpassword")


def store_dsn(file: Path | None) -> SecretStr:
    """The connection string, from the file or else from the environment; ends the command if there is none."""
    if file is None:
        source, text = VARIABLE, _from_environment()
    else:
        source, text = str(file), _content("--store-dsn-file", file)
    if not text.strip():
        fail(f"{source}: the store's connection string is missing; set {VARIABLE} or give --store-dsn-file")
    return _checked(source, text)


def _from_environment() -> str:
    try:
        if variable("store_at") in os.environ:
            return read(StoreEnvironment).dsn.get_secret_value()
        return secret("store_dsn") or ""
    except EnvironmentVariableError as error:
        fail(str(error))


def other_dsn(into: str | None, file: Path | None) -> SecretStr | None:
    """The connection string of another database, if one is given; ends the command if it is wrong."""
    if into is not None and file is not None:
        fail("give either --into or --into-file")
    if into is not None:
        dsn = _checked("--into", into)
        if any(conninfo_to_dict(dsn.get_secret_value()).get(name) for name in _SECRETS):
            fail("--into: every account of this machine can read a password there; put the text into --into-file")
        return dsn
    return None if file is None else _checked(f"--into-file {file}", _content("--into-file", file))


def _content(option: str, file: Path) -> str:
    try:
        return read_secret_file(file)
    except SecretError as error:
        fail(f"{option} {error}")


def _checked(source: str, text: str) -> SecretStr:
    try:
        return TypeAdapter[SecretStr](StoreDsn).validate_python(text.strip())
    except ValidationError as error:
        fail(f"{source}: {error.errors(include_input=False)[0]['msg'].removeprefix('Value error, ')}")
