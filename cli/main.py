"""The command `pganalytics`: the list of what it can do."""

from __future__ import annotations

import typer

from cli import (
    agents,
    audit,
    authority,
    client,
    enrolment,
    keys,
    login,
    maintain,
    migrate,
    replay,
    serve,
    tokens,
    users,
    version,
)
from cli.demo.command import demo

app = typer.Typer(
    name="pganalytics",
    help="Watch fleets of PostgreSQL servers: run the server, ask it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("serve")(serve.serve)
app.command("demo")(demo)
app.command("migrate")(migrate.migrate)
app.command("replay")(replay.replay)
app.command("maintain")(maintain.maintain)
app.add_typer(keys.app, name="keys")
app.add_typer(authority.app, name="authority")
app.add_typer(enrolment.app, name="enrolment")
app.add_typer(tokens.app, name="token")
app.command("login")(login.login)
app.command("logout")(login.logout)
app.add_typer(users.app, name="users")
app.command("audit")(audit.audit)
app.add_typer(agents.app, name="agents")
app.command("targets")(client.targets)
app.command("version")(version.version)

if __name__ == "__main__":
    app()
