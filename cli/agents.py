"""`pganalytics agents`: the list of agents, what one is covered for, and its end."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.client import AsJson, Ca, Column, Server, TokenFile, ago, asking, connect, show
from cli.ending import fail
from cli.instants import instant, utc

app = typer.Typer(invoke_without_command=True)

AGENTS = (
    Column("agent", "agent_id"),
    Column("last seen", "last_seen_at", ago),
    Column("version", "agent_version"),
    Column("configuration", "config_state"),
    Column("its version", "config_version"),
)


@app.callback()
def agents(
    context: typer.Context,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the agents that have sent anything; or ask about one."""
    if context.invoked_subcommand is not None:
        sources = (context.get_parameter_source(name) for name in context.params)
        if any(source is not None and source.name == "COMMANDLINE" for source in sources):
            fail(f"options come after the command: pganalytics agents {context.invoked_subcommand} ...")
        return
    show(server, token_file, ca, "/v1/agents", AGENTS, as_json=as_json)


@app.command()
def coverage(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the agent.")],
    server: Server = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this instant; a day before --to.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to this instant; now.")] = None,
    every_seconds: Annotated[
        int, typer.Option(min=1, max=86400, help="Time that is expected between two readings.")
    ] = 60,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show when an agent's targets were read, and why not at other times.

    A TIME is ISO 8601 with its zone; a date alone is its midnight in UTC. At most 31 days; what is printed is UTC.
    """
    query = {"every_seconds": str(every_seconds)}
    query |= {"from": instant("--from", from_).isoformat()} if from_ is not None else {}
    query |= {"to": instant("--to", to).isoformat()} if to is not None else {}
    with asking():
        found = connect(server, token_file, ca).item(f"/v1/agents/{quote(id, safe='')}/coverage", query)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console()
    for target in found["targets"]:
        console.print(Text(f"{target['name']}: {target['covered_share']:.2%} covered", style="bold"))
        if target["uncovered"]:
            console.print(_table(target["uncovered"]))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the agent.")],
    server: Server = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    token_file: TokenFile = None,
    ca: Ca = None,
) -> None:
    """Give an agent no token any more, as when its host was stolen. A token that it has ends within 15 minutes.

    `pganalytics enrolment create --agent ID` makes a token that lets it in again, with a new key.
    """
    query = {"reason": reason} if reason else None
    with asking():
        connect(server, token_file, ca).change("DELETE", f"/v1/agents/{quote(id, safe='')}", query=query)
    typer.echo(f"revoked {id}", err=True)


def _table(uncovered: list[dict[str, Any]]) -> Table:
    table = Table("from", "to", "why", "detail", box=None, header_style="bold")
    for each in uncovered:
        whole = [_utc(each["from_at"]), _utc(each["to_at"])]
        for reason in each["reasons"]:
            # Text, not str: what an agent tells is no markup of ours.
            table.add_row(*whole, reason["reason"], Text(reason["detail"] or ""))
            whole = ["", ""]
    return table


def _utc(text: str) -> str:
    return utc(datetime.fromisoformat(text))
