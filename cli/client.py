"""`pganalytics targets`, and what commands share that ask the server: a table or JSON, a token, failures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.api import Api, ApiError, ApiSettingsError
from cli.ending import FAILED, fail
from cli.session import Access, SessionFile

VARIABLE = "PGANALYTICS_TOKEN"

Server = Annotated[
    str | None, typer.Option(envvar="PGANALYTICS_SERVER", help="URL of the server; without it, that of the login.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="PGANALYTICS_TOKEN_FILE",
        help=f"File with an operator's access token. Without it {VARIABLE} has it, or the session of the login.",
    ),
]
Ca = Annotated[
    Path | None, typer.Option("--ca", envvar="PGANALYTICS_CA", help="Certificates to trust besides the system's, PEM.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as a JSON array.")]


@dataclass(frozen=True)
class Column:
    """One column of a table: the field of an item, and how to write it."""

    title: str
    field: str
    write: Callable[[Any], str] = str


def ago(instant: str) -> str:
    """How long ago an instant of RFC 3339 was, in its largest unit."""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{max(0, seconds)} s ago"


TARGETS = (
    Column("id", "id"),
    Column("agent", "agent_id"),
    Column("target", "name"),
    Column("host", "hostname"),
    Column("server", "server_version"),
    Column("last seen", "last_seen_at", ago),
)


def targets(server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False) -> None:
    """List what the agents watch: servers of PostgreSQL and hosts."""
    show(server, token_file, ca, "/v1/targets", TARGETS, as_json=as_json)


def show(
    server: str | None,
    token_file: Path | None,
    ca: Path | None,
    path: str,
    columns: tuple[Column, ...],
    *,
    as_json: bool,
) -> None:
    """Print the items of a list, or end the command with the reason."""
    with asking():
        items = list(connect(server, token_file, ca).items(path))
    show_items(items, columns, as_json=as_json)


def show_items(items: list[dict[str, Any]], columns: tuple[Column, ...], *, as_json: bool) -> None:
    """Print the items, as a table or as JSON."""
    if as_json:
        typer.echo(json.dumps(items, indent=2))
        return
    table = Table(box=None, header_style="bold")
    for column in columns:
        # A command takes the id as it stands there; of all else nothing is left out, however narrow the terminal.
        table.add_column(column.title, no_wrap=column.field == "id", overflow="fold")
    for item in items:
        # Text, not str: what a host calls itself is no markup of ours.
        table.add_row(*(Text(_cell(column, item.get(column.field))) for column in columns))
    Console().print(table)


@contextmanager
def asking() -> Iterator[None]:
    """End the command where the server is called wrongly, cannot be reached, or refuses."""
    try:
        yield
    except ApiSettingsError as error:
        fail(str(error))
    except ApiError as error:
        fail(str(error), FAILED)


def _cell(column: Column, value: object) -> str:
    return "" if value is None else column.write(value)


def connect(server: str | None, token_file: Path | None, ca: Path | None) -> Api:
    """The server as this operator calls it: with the token that is given, or else in the session of the login.

    Raises:
        ApiError: the session has ended, or its server cannot be reached.
        ApiSettingsError: the file of the session, or how the server is to be called, is wrong.
    """
    token = _given_token(token_file)
    if token is not None:
        if server is None:
            fail("--server: the URL of the server is missing; give it, or set PGANALYTICS_SERVER")
        return Api(server, token, ca)
    file = SessionFile.of_this_account()
    session = file.read()
    if session is None:
        fail(
            "nobody is logged in: pganalytics login --server URL --user NAME; "
            f"or else an access token is needed: set {VARIABLE} or give --token-file"
        )
    if server is not None and server.rstrip("/") != session.server:
        # Its tokens are for nobody else.
        fail(f"--server {server}: the login is at {session.server}; log in there, or give an access token")
    access = Access(file)
    return Api(session.server, access.token(), ca or session.ca, access.renew)


def _given_token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--token-file {file}: {getattr(error, 'strerror', None) or 'not a token'}")
    if not text:
        fail(f"--token-file {file}: is empty")
    return text
