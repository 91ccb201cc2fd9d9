"""The list of what `pganalytics config` can do."""

from __future__ import annotations

import typer

from cli.config import looking, saving

app = typer.Typer(
    help="The configuration of the fleet, of groups and of agents: check it, save it, see who obeys.",
    no_args_is_help=True,
)

app.command("apply")(saving.apply)
app.command("show")(looking.show)
app.command("diff")(looking.diff)
app.command("history")(looking.history)
app.command("rollback")(saving.rollback)
app.command("validate")(saving.validate)
app.command("status")(looking.status)


@app.callback()
def config() -> None:
    """The configuration of the fleet, of groups and of agents: check it, save it, see who obeys."""
