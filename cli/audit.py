"""`pganalytics audit`: who did what, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated

import typer

from cli.client import AsJson, Ca, Column, Server, TokenFile, asking, connect, show_items
from cli.instants import instant, utc


def _at(text: str) -> str:
    return utc(datetime.fromisoformat(text))


def _detail(detail: Mapping[str, object]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in detail.items())


ENTRIES = (
    Column("at", "at", _at),
    Column("", "actor_kind"),
    Column("who", "actor"),
    Column("from", "address"),
    Column("did", "action"),
    Column("to", "subject"),
    Column("outcome", "outcome"),
    Column("detail", "detail", _detail),
)


def audit(
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this instant.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this instant.")] = None,
    action: Annotated[str | None, typer.Option(help="Only of this action, such as login or user.change.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only by this actor.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entries.")] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the audit log, the newest entry first.

    A TIME is ISO 8601 with its zone; a date alone is its midnight in UTC. What is printed is UTC.
    """
    query = {"limit": str(min(limit, 1000))}
    query |= {"from": instant("--since", since).isoformat()} if since is not None else {}
    query |= {"until": instant("--until", until).isoformat()} if until is not None else {}
    query |= {"action": action} if action is not None else {}
    query |= {"actor": actor} if actor is not None else {}
    with asking():
        items = list(islice(connect(server, token_file, ca).items("/v1/audit", query), limit))
    show_items(items, ENTRIES, as_json=as_json)
