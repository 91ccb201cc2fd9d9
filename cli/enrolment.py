"""`pganalytics enrolment`: the tokens that hosts enrol with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from cli.client import AsJson, Ca, Column, Server, TokenFile, asking, connect, show
from cli.durations import parse
from cli.ending import fail
from cli.instants import instant, utc

app = typer.Typer(help="Let hosts enrol as agents.", no_args_is_help=True)


def _instant(value: str) -> str:
    return utc(datetime.fromisoformat(value))


def _labels(value: dict[str, str]) -> str:
    return ", ".join(f"{name}={each}" for name, each in sorted(value.items()))


ENROLMENTS = (
    Column("id", "id"),
    Column("created", "created_at", _instant),
    Column("by", "created_by"),
    Column("expires", "expires_at", _instant),
    Column("revoked", "revoked_at", _instant),
    Column("used", "used"),
    Column("of", "uses"),
    Column("agent", "agent_id"),
    Column("labels", "labels", _labels),
    Column("comment", "comment"),
)


@app.callback()
def enrolment() -> None:
    """Let hosts enrol as agents."""


@app.command()
def create(
    server: Server = None,
    uses: Annotated[int, typer.Option(min=1, max=100_000, help="So many hosts may enrol with it.")] = 1,
    expires: Annotated[
        str, typer.Option(help="How long it is good for, such as 30m, 12h, 7d, or until which instant (ISO 8601).")
    ] = "1d",
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label of the agents; can be given again.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="Only this agent; it takes the place of one of that name that is enrolled.")
    ] = None,
    comment: Annotated[str, typer.Option(help="What it is for.")] = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Print a new enrolment token, and nothing else. It is shown this once."""
    asked: dict[str, object] = {"uses": uses, "expires_in": _expires_in(expires), "comment": comment}
    asked |= {"labels": _parsed(label or [])} | ({} if agent is None else {"agent_id": agent})
    with asking():
        made = connect(server, token_file, ca).change("POST", "/v1/enrolments", asked)
    typer.echo(json.dumps(made, indent=2) if as_json else made["token"])


@app.command("list")
def list_(server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False) -> None:
    """List enrolment tokens, the newest first, without the tokens themselves."""
    show(server, token_file, ca, "/v1/enrolments", ENROLMENTS, as_json=as_json)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the enrolment token, as the list has it.")],
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
) -> None:
    """Let nobody enrol with a token any more. Agents that it has enrolled stay."""
    with asking():
        connect(server, token_file, ca).change("DELETE", f"/v1/enrolments/{quote(id, safe='')}")
    typer.echo(f"revoked {id}", err=True)


def _expires_in(text: str) -> int:
    length = parse(text)
    if length is None:
        length = int((instant("--expires", text) - datetime.now(UTC)).total_seconds())
    if not 60 <= length <= 365 * 86400:
        fail(f"--expires {text}: a minute to 365 days from now, such as 12h or 7d")
    return length


def _parsed(labels: list[str]) -> dict[str, str]:
    pairs = [label.partition("=") for label in labels]
    for label, (name, equals, value) in zip(labels, pairs, strict=True):
        if not (name and equals and value):
            fail(f"--label {label}: KEY=VALUE is expected, such as environment=production")
    found = {name: value for name, _, value in pairs}
    if len(found) != len(pairs):
        fail("--label: a key stands twice")
    return found
