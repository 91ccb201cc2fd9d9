"""`pganalytics config apply`, `rollback`, `validate`: what is said is checked, shown, saved if nobody was faster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.amounts import labels
from cli.client import Ca, Server, TokenFile, asking, connect
from cli.config import scopes
from cli.config.changes import Changed, compared, print_changes, said
from cli.config.files import FileError, Said, read
from cli.ending import FAILED, fail
from contracts.configuration import DocumentVersion, Group
from contracts.overlay import FLEET, GROUP, Fault

File = Annotated[Path, typer.Argument(metavar="FILE", help="A document: .toml, .yaml or .json.")]
Comment = Annotated[str, typer.Option("--comment", help="Why; stands in the history.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and save nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Documents: .toml, .yaml or .json.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check documents without a server. Exit code 1, and everything that is wrong with them, if anything is."""
    faults = {str(file): _faults(file) for file in files}
    if as_json:
        told = [
            {"file": file, "ok": not found, "faults": [{"key": each.key, "message": each.message} for each in found]}
            for file, found in faults.items()
        ]
        typer.echo(json.dumps(told, indent=2))
    else:
        for file, found in faults.items():
            for each in found:
                typer.echo(f"{file}: {each}", err=True)
            if not found:
                typer.echo(f"{file}: good")
    if any(faults.values()):
        raise typer.Exit(FAILED)


def _faults(file: Path) -> tuple[Fault, ...]:
    try:
        read(file)
    except FileError as error:
        return error.faults
    return ()


def apply(
    file: File,
    scope: scopes.ScopeOption = FLEET,
    comment: Comment = "",
    selector: Annotated[
        list[str] | None,
        typer.Option(
            "--selector", metavar="NAME=VALUE", help="A label of the group's agents; may be given repeatedly."
        ),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=0, max=1000, help="Of two groups the higher one wins; 100.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    draft: Annotated[bool, typer.Option("--draft", help="Save it for a release: agents do not get it yet.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Save a document as the newest version of its scope, after showing what it changes.

    What another operator saves meanwhile is not overwritten: then nothing is saved, and the exit code is 3. What is
    the same already is not saved again.
    """
    told = _read(file)
    group = _group(scope, told, selector, priority)
    with asking():
        api = connect(server, token_file, ca)
        newest = scopes.newest(api, scope)
        live = scopes.live(api, newest)
        # Who says nothing of the group leaves it as it is.
        group = group or (newest.group if newest else None)
        if scope.startswith(GROUP) and group is None:
            fail(f"{scope}: which agents are in it? Give --selector NAME=VALUE, or a table [group] in the file")
        now = said(told.document, group)
        changes = compared(_said(live), now)
        # A draft that says the same is saved anew: so it is live.
        there = newest is not None and (draft or newest.live) and not compared(_said(newest), now)
        saved = None
        if not as_json:
            _print(scope, changes, live, draft=draft)
        if not there and not dry_run:
            body: dict[str, Any] = {"document": told.document, "comment": comment, "activate": not draft}
            body |= {"group": group.model_dump()} if group else {}
            with scopes.changing(api, scope):
                answer = api.change("PUT", scopes.path(scope), body, headers=scopes.seen(newest))
            saved = scopes.parsed(DocumentVersion, answer)
    if as_json:
        _print_json(changes, saved)
    elif saved is not None:
        _print_saved(saved, newest)
    elif there:
        typer.echo(f"{scope}: says so already, nothing is saved")


def rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version to have again.")],
    scope: scopes.ScopeOption = FLEET,
    comment: Comment = "",
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    *,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have an earlier version of a scope again: what it says becomes the newest version, live at once."""
    with asking():
        api = connect(server, token_file, ca)
        newest = scopes.newest(api, scope)
        live = scopes.live(api, newest)
        wanted = scopes.parsed(DocumentVersion, api.item(scopes.path(scope, "versions", version)))
        changes, saved = compared(_said(live), _said(wanted)), None
        there = newest is not None and newest.live and not changes
        if not as_json:
            _print(scope, changes, live, draft=False)
        if not there and not dry_run:
            body = {"version": version, "comment": comment}
            with scopes.changing(api, scope):
                answer = api.change("POST", scopes.path(scope, "rollback"), body, headers=scopes.seen(newest))
            saved = scopes.parsed(DocumentVersion, answer)
    if as_json:
        _print_json(changes, saved)
    elif saved is not None:
        _print_saved(saved, newest)
    elif there:
        typer.echo(f"{scope}: says so already, nothing is saved")


def _read(file: Path) -> Said:
    try:
        return read(file)
    except FileError as error:
        *others, last = (f"{file}: {each}" for each in error.faults)
        for each in others:
            typer.echo(f"pganalytics: {each}", err=True)
        fail(last, FAILED)


def _group(scope: str, told: Said, selector: list[str] | None, priority: int | None) -> Group | None:
    scopes.path(scope)
    given = told.group
    if selector:
        given = Group(selector=labels("--selector", selector), priority=given.priority if given else 100)
    if priority is not None:
        if given is None:
            fail("--priority: give --selector with it, or a table [group] in the file")
        given = given.model_copy(update={"priority": priority})
    if given is not None and not scope.startswith(GROUP):
        fail(f"--scope {scope}: only a group has a selector and a priority; --scope group:NAME is one")
    return given


def _said(version: DocumentVersion | None) -> dict[str, Any]:
    return said(version.document, version.group) if version else {}


def _print(scope: str, changes: list[Changed], live: DocumentVersion | None, *, draft: bool) -> None:
    since = f"changes of version {live.version}, which is live" if live else "new, nothing is live there yet"
    console = Console(highlight=False, emoji=False)
    console.print(f"{scope}{', a draft' if draft else ''}: {since}", markup=False)
    print_changes(changes, console)


def _print_json(changes: list[Changed], saved: DocumentVersion | None) -> None:
    version = saved.model_dump(mode="json") if saved else None
    typer.echo(json.dumps({"changes": [each.as_json() for each in changes], "saved": version}, indent=2))


def _print_saved(saved: DocumentVersion, before: DocumentVersion | None) -> None:
    if not saved.live:
        start = f"pganalytics release start --scope {saved.scope} --version {saved.version}"
        typer.echo(f"{saved.scope}: version {saved.version} is saved; `{start}` brings it to the agents")
        return
    typer.echo(f"{saved.scope}: version {saved.version} is live; agents have it when they pull next")
    if before is not None and not before.live:
        typer.echo(
            f"version {before.version}, a draft of {before.author}, is older now and cannot be released any more"
        )
