"""`pganalytics authority`: the file with which agents' certificates are signed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.ending import fail
from cli.keys import write_new

app = typer.Typer(help="Make what signs agents' certificates.", no_args_is_help=True)

AuthorityFile = Annotated[
    Path,
    typer.Option(
        "--authority-file", envvar="PGANALYTICS_AUTHORITY_FILE", help="Private key and certificates of the authority."
    ),
]


@app.callback()
def authority() -> None:
    """Make what signs agents' certificates."""


@app.command()
def create(
    authority_file: AuthorityFile,
    name: Annotated[str, typer.Option(help="Name in its certificate.")] = "pgAnalytics fleet",
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long it is good for.")] = 3650,
) -> None:
    """Write a new file with a private key and its certificate, for this account only. A file that is there stays."""
    from functions.authorizer.authority import create as make

    if not (0 < len(name) <= 64 and name.isprintable()):
        fail(f"--name {name!r}: 1 to 64 characters that can be printed")
    write_new(
        "--authority-file", authority_file, make(name, days, datetime.now(UTC)), "agents' certificates hang on it"
    )


@app.command()
def show(authority_file: AuthorityFile) -> None:
    """Print the authority's certificates, and nothing else: for whoever is to trust agents. The key stays secret."""
    from functions.authorizer.authority import AuthorityError, load

    try:
        typer.echo(load(authority_file).pem, nl=False)
    except AuthorityError as error:
        fail(f"--authority-file {error}")
