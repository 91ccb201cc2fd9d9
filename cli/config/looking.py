"""`pganalytics config show`, `diff`, `history`, `status`: what is said, where a value comes from, and who obeys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.api import Api
from cli.client import Ca, Column, Server, TokenFile, ago, asking, connect, show_items
from cli.config import scopes
from cli.config.changes import print_differences
from cli.config.files import GROUP_KEY
from cli.ending import fail
from cli.instants import utc
from contracts.configuration import AgentConfiguration, Diff, DocumentVersion, Explained, FleetConfiguration
from contracts.overlay import FLEET, leaves

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
State = Literal["current", "behind", "rejected", "silent", "unknown"]

VERSIONS = (
    Column("scope", "scope"),
    Column("version", "version"),
    Column("revision", "revision"),  # which is what an agent tells: `status` has it
    Column("", "live", lambda live: "live" if live else ""),
    Column("by", "author"),
    Column("saved", "created_at", ago),
    Column("group", "group", lambda group: " ".join(f"{name}={value}" for name, value in group["selector"].items())),
    Column("comment", "comment", lambda comment: comment.partition("\n")[0]),
)

AGENTS = (
    Column("agent", "agent_id"),
    Column("state", "state"),
    Column("is to obey", "version"),
    Column("obeys", "reported_version"),
    Column("last seen", "last_seen_at", ago),
    Column("reason", "reason"),
)


def show(
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="SCOPE", help="Its document: fleet, group:NAME or agent:ID.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="This version; the newest, live or not.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID", help="What this agent is to obey, of all scopes together.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --agent: the scope that each key has its value from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the scopes; or show the document of one, as YAML that `apply` takes; or what an agent is to obey."""
    if scope is not None and agent is not None:
        fail("give either --scope or --agent")
    if (explain and agent is None) or (version is not None and scope is None):
        fail("--explain goes with --agent, --version with --scope")
    with asking():
        api = connect(server, token_file, ca)
        if agent is not None:
            answer = api.item(f"/v1/agents/{quote(agent, safe='')}/configuration")
            explained = scopes.parsed(Explained, answer)
        elif scope is not None:
            answer = api.item(scopes.path(scope, *(() if version is None else ("versions", version))))
            saved = scopes.parsed(DocumentVersion, answer)
        else:
            show_items(list(api.items("/v1/documents")), VERSIONS, as_json=as_json)
            return
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif agent is None:
        _print_document(saved)
    else:
        _print_explained(explained, origins=explain)


def diff(
    scope: scopes.ScopeOption = FLEET,
    from_: Annotated[
        int | None, typer.Option("--from", metavar="VERSION", min=0, help="The older one, 0 for nothing; the live one.")
    ] = None,
    to: Annotated[
        int | None, typer.Option("--to", metavar="VERSION", min=1, help="The newer one; the newest, live or not.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two versions of a scope. `apply --dry-run` compares a file with what is live."""
    query = {name: str(value) for name, value in (("from", from_), ("to", to)) if value is not None}
    with asking():
        answer = connect(server, token_file, ca).item(scopes.path(scope, "diff"), query)
        found = scopes.parsed(Diff, answer)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    console = Console(highlight=False, emoji=False)
    console.print(f"{scope}: from version {found.from_version} to {found.to_version}", markup=False)
    print_differences(found.changes, console)


def history(
    scope: scopes.ScopeOption = FLEET,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="So many, the newest first.")] = 20,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the versions of a scope: who saved them, when and why, and which one is live."""
    with asking():
        items = list(islice(connect(server, token_file, ca).items(scopes.path(scope, "versions")), last))
    show_items(items, VERSIONS, as_json=as_json)


def status(
    state: Annotated[State | None, typer.Option("--state", help="Only agents in this state.")] = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that obey the newest, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how many agents obey what they are to obey, and which do not, with their reasons."""
    counts: dict[str, int] = {}
    agents: list[AgentConfiguration] = []
    with asking():
        for page in _pages(connect(server, token_file, ca), {"state": state} if state else {}):
            counts = page.counts
            agents += [each for each in page.items if every or state or each.state != "current"]
    items = [each.model_dump(mode="json") for each in agents]
    if as_json:
        typer.echo(json.dumps({"counts": counts, "items": items}, indent=2))
        return
    typer.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    if items:
        show_items(items, AGENTS, as_json=False)


def _pages(api: Api, query: dict[str, str]) -> Iterator[FleetConfiguration]:
    cursor = None
    while True:
        asked = {"limit": "1000", **query, **({"cursor": cursor} if cursor else {})}
        page = scopes.parsed(FleetConfiguration, api.item("/v1/configuration", asked))
        yield page
        cursor = page.next
        if cursor is None:
            return


def _print_document(saved: DocumentVersion) -> None:
    state = "live" if saved.live else "not live"
    typer.echo(f"# {saved.scope}, version {saved.version}, {state}, by {saved.author}, {utc(saved.created_at)}")
    for line in saved.comment.splitlines():
        typer.echo(f"# {line}")
    group = {GROUP_KEY: saved.group.model_dump()} if saved.group else {}
    _print_yaml(saved.document | group)


def _print_explained(explained: Explained, *, origins: bool) -> None:
    labels = " ".join(f"{name}={value}" for name, value in explained.labels.items()) or "none"
    told = ", ".join(explained.scopes) or "nothing but the defaults"
    typer.echo(f"# {explained.agent_id}, version {explained.version}, of {told}; its labels: {labels}")
    if not origins:
        _print_yaml(explained.document)
        return
    table = Table("key", "value", "from", box=None, header_style="bold")
    for key, value in leaves(explained.document).items():
        origin = explained.origins.get(key)
        # Text, not str: what an operator wrote is no markup of ours.
        shown = (key, json.dumps(value, ensure_ascii=False), origin or "default")
        table.add_row(*(Text(cell, style="bold" if origin else "") for cell in shown))
    Console().print(table)


def _print_yaml(document: dict[str, Any]) -> None:
    typer.echo(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=100).removesuffix("\n"))
