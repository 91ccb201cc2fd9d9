"""`pganalytics version`."""

from __future__ import annotations

import typer

from contracts.version import __version__


def version() -> None:
    """Print the version of this program."""
    typer.echo(f"pganalytics {__version__}")
