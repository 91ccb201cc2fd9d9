"""The command `pganalytics`."""

from __future__ import annotations

import typer

from cli.commands import Commands

app = typer.Typer(
    cls=Commands,
    name="pganalytics",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def pganalytics() -> None:
    """Watch fleets of PostgreSQL servers: run the server, ask it."""


if __name__ == "__main__":
    app()
