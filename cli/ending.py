"""How a command ends when it cannot do its work: one line on standard error, and the exit code.

0: done. 1: it did not work. 2: how it was called, or something that the message says how to mend. 3: somebody else was
faster, or what is on its way is in the way; look, and do it again.
"""

from __future__ import annotations

from typing import NoReturn

import typer

FAILED = 1
MEND = 2
CONFLICT = 3


def fail(message: str, code: int = MEND) -> NoReturn:
    """End the command."""
    typer.echo(f"pganalytics: {message}", err=True)
    raise typer.Exit(code)
