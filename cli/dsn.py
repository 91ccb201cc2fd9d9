"""Where a command learns how to reach the store: never from its command line, which every account can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, TypeAdapter, ValidationError

from cli.ending import fail
from infra.standalone.dsn import StoreDsn

VARIABLE = "PGANALYTICS_STORE_DSN"

DsnFile = Annotated[
    Path | None,
    typer.Option(
        "--store-dsn-file",
        envvar="PGANALYTICS_STORE_DSN_FILE",
        help=f"File with the store's connection string. Without it, {VARIABLE} has it.",
    ),
]


def store_dsn(file: Path | None) -> SecretStr:
    """The connection string, from the file or else from the environment; ends the command if there is none."""
    if file is None:
        source, text = VARIABLE, os.environ.get(VARIABLE, "")
    else:
        source = str(file)
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"--store-dsn-file {file}: {getattr(error, 'strerror', None) or 'not a text file'}")
    if not text.strip():
        fail(f"{source}: the store's connection string is missing; set {VARIABLE} or give --store-dsn-file")
    try:
        return TypeAdapter[SecretStr](StoreDsn).validate_python(text.strip())
    except ValidationError as error:
        fail(f"{source}: {error.errors(include_input=False)[0]['msg'].removeprefix('Value error, ')}")
