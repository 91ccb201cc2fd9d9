"""`pganalytics keys`: the file with the keys that sign access tokens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.ending import fail

app = typer.Typer(help="Make the keys that sign access tokens.", no_args_is_help=True)

KeysFile = Annotated[Path, typer.Option("--keys-file", envvar="PGANALYTICS_KEYS_FILE", help="JWK Set with the keys.")]


@app.callback()
def keys() -> None:
    """Make the keys that sign access tokens."""


@app.command()
def create(keys_file: KeysFile) -> None:
    """Write a new file with one new key, that only this account can read. A file that is there stays."""
    from functions.authorizer.keys import dump, generate

    content = dump([generate()]) + "\n"
    try:
        descriptor = os.open(keys_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        fail(f"--keys-file {keys_file}: is there already, and tokens may hang on it; move it away or name another")
    except OSError as error:
        fail(f"--keys-file {keys_file}: {error.strerror}")
    typer.echo(f"wrote {keys_file}", err=True)
