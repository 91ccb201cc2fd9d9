"""`pganalytics release`: brings a saved version to the agents in stages, watches it, holds it, takes it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from cli.amounts import gates
from cli.api import Api, ApiError
from cli.client import Ca, Column, Server, TokenFile, ago, asking, connect, show
from cli.config import scopes
from cli.durations import seconds
from cli.ending import FAILED, fail
from cli.watching import print_release, watch
from contracts.configuration import Release, ReleaseAsked
from contracts.overlay import FLEET

app = typer.Typer(help="Bring a saved configuration to the agents in stages.", no_args_is_help=True)

PATH = "/v1/releases"

RELEASES = (
    Column("release", "id"),
    Column("scope", "scope"),
    Column("from", "from_version"),
    Column("to", "to_version"),
    Column("state", "state"),
    Column("stage", "stage", lambda stage: str(stage + 1)),
    Column("given", "touched"),
    Column("agents", "agents"),
    Column("begun", "created_at", ago),
    Column("by", "created_by"),
    Column("reason", "reason"),
)

Id = Annotated[
    int | None, typer.Argument(metavar="RELEASE", min=1, help="Number of the release; without it, the one on its way.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end; exit code 1 unless it comes to be done.")]
Every = Annotated[float, typer.Option("--every", min=0.01, max=3600, help="Seconds between two looks of --watch.")]


@app.callback()
def release() -> None:
    """Bring a saved configuration to the agents in stages."""


@app.command()
def start(
    scope: scopes.ScopeOption = FLEET,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="The version; the newest that was saved with --draft.")
    ] = None,
    through: Annotated[
        str,
        typer.Option("--stages", help="canary (agents labelled canary=true), label:NAME=VALUE, shares; 100% ends it."),
    ] = "canary,1%,10%,100%",
    bake: Annotated[str, typer.Option("--bake", help="How long each stage is watched: 90s, 10m, 2h.")] = "10m",
    gate: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            help="What halts it: errors=1%,missing=2%,agent_cpu=2x,db_time=2x; agent_cpu and db_time may be off.",
        ),
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="Why; stands beside the release.")] = "",
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    every: Every = 2.0,
    *,
    follow: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Begin a release of a version that was saved with `pganalytics config apply --draft`."""
    scopes.path(scope)
    asked = {
        "scope": scope,
        "version": version,
        "stages": tuple(part.strip() for part in through.split(",")),
        "bake_seconds": seconds("--bake", bake, at_most_days=7),
        "gates": gates("--gate", gate or ()),
        "comment": comment,
    }
    try:
        body = ReleaseAsked.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        expected = ": canary, label:NAME=VALUE or a share such as 1% is expected" if first["loc"][0] == "stages" else ""
        fail(f"--{first['loc'][0]} {first['input']}{expected or ': ' + first['msg']}")
    with asking():
        api = connect(server, token_file, ca)
        begun = _changed(api, PATH, body.model_dump(mode="json"))
        if follow:
            _follow(api, begun, every, as_json=as_json)
        elif as_json:
            _print_json(begun)
        else:
            stages = ", ".join(begun.stages)
            typer.echo(f"release {begun.id} of {scope}, version {begun.to_version}, has begun: {stages}")


@app.command()
def status(
    id: Annotated[
        int | None, typer.Argument(metavar="RELEASE", min=1, help="Number of the release; without it, the newest.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    every: Every = 2.0,
    *,
    follow: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a release is, what its gates measured, and what happened to it."""
    with asking():
        api = connect(server, token_file, ca)
        found = _one(api, id or _newest(api))
        if follow:
            _follow(api, found, every, as_json=as_json)
        elif as_json:
            _print_json(found)
        else:
            print_release(found, Console(highlight=False, emoji=False))


@app.command("list")
def list_(server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False) -> None:
    """List the releases, the newest first."""
    show(server, token_file, ca, PATH, RELEASES, as_json=as_json)


@app.command()
def pause(
    id: Id = None, server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False
) -> None:
    """Hold a release in its stage: its agents keep the version or come to it, those of later stages do not."""
    _move("pause", id, server, token_file, ca, as_json=as_json)


@app.command()
def resume(
    id: Id = None, server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False
) -> None:
    """Go on with a release that was paused."""
    _move("resume", id, server, token_file, ca, as_json=as_json)


@app.command()
def abort(
    id: Id = None, server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False
) -> None:
    """End a release and take it back: every agent gets what was live before."""
    _move("abort", id, server, token_file, ca, as_json=as_json)


def _move(
    what: str, id: int | None, server: str | None, token_file: Path | None, ca: Path | None, *, as_json: bool
) -> None:
    with asking():
        api = connect(server, token_file, ca)
        moved = _changed(api, f"{PATH}/{id or _on_its_way(api)}/{what}")
    if as_json:
        _print_json(moved)
    else:
        typer.echo(f"release {moved.id} of {moved.scope} is {moved.state}, at stage {moved.stages[moved.stage]}")


def _changed(api: Api, path: str, body: dict[str, object] | None = None) -> Release:
    try:
        return scopes.parsed(Release, api.change("POST", path, body))
    except ApiError as error:
        scopes.ending(error)
        raise


def _one(api: Api, id: int) -> Release:
    return scopes.parsed(Release, api.item(f"{PATH}/{id}"))


def _newest(api: Api) -> int:
    found = api.item(PATH, {"limit": "1"}).get("items")
    if not found:
        fail("there is no release; `pganalytics release start` begins one")
    return scopes.parsed(Release, found[0]).id


def _on_its_way(api: Api) -> int:
    found = [each for each in api.items(PATH) if each.get("state") in {"running", "paused"}]
    if len(found) != 1:
        several = ", ".join(f"{each['id']} of {each['scope']}" for each in found)
        fail(f"which release? On their way are {several}" if found else "no release is on its way")
    return scopes.parsed(Release, found[0]).id


def _follow(api: Api, release: Release, every: float, *, as_json: bool) -> None:
    ended = watch(lambda: _one(api, release.id), release, every, quiet=as_json)
    if as_json:
        _print_json(ended)
    else:
        print_release(ended, Console(highlight=False, emoji=False))
    if ended.state != "done":
        raise typer.Exit(FAILED)


def _print_json(release: Release) -> None:
    typer.echo(json.dumps(release.model_dump(mode="json"), indent=2))
