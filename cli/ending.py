"""How a command ends when it cannot do its work: one line on standard error, and the exit code.

0: done. 1: it did not work. 2: how it was called, or something that the message says how to mend.
"""

from __future__ import annotations

from typing import NoReturn

import typer

FAILED = 1
MEND = 2


def fail(message: str, code: int = MEND) -> NoReturn:
    """End the command."""
    typer.echo(f"pganalytics: {message}", err=True)
    raise typer.Exit(code)
