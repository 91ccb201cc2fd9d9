"""`pganalytics-agent`: run, enrol, once, check, spool."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from agent import check as checks
from agent.identity.files import IdentityError
from agent.runtime import once
from agent.service import serve
from agent.settings import Settings, SettingsError, load
from agent.spool import SpoolError
from agent.spooled import ASIDE
from agent.waiting import look
from contracts.document import Document
from contracts.version import __version__

app = typer.Typer(
    help="Reads PostgreSQL's and the host's metrics, and uploads them in batches.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SettingsFile = Annotated[
    Path, typer.Option("--settings", "-c", envvar="PGANALYTICS_AGENT_SETTINGS", help="The agent's settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
_DEFAULT = Path("/etc/pganalytics/agent.toml")


@app.command()
def run(settings: SettingsFile = _DEFAULT) -> None:
    """Collect and upload until SIGTERM or Ctrl-C. SIGHUP takes over the settings and pulls the configuration."""
    _log_to_standard_error()
    try:
        serve(settings)
    except (SettingsError, IdentityError, SpoolError) as error:
        _fail(str(error))


@app.command()
def enrol(
    token_file: Annotated[
        Path, typer.Option("--token-file", help="File with the enrolment token; - for standard input.")
    ],
    settings: SettingsFile = _DEFAULT,
    server: Annotated[str | None, typer.Option(help="URL of the server; else agent.toml's.")] = None,
    agent_id: Annotated[
        str | None, typer.Option(help="What this agent is to go by; else agent.toml's, or the host's name.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificates (PEM) that the server's must come from; else agent.toml's.")
    ] = None,
    state_directory: Annotated[
        Path | None, typer.Option(help="Folder of the agent's state; else agent.toml's, or its default.")
    ] = None,
) -> None:
    """Make this host's agent one of the fleet: it makes its key, and gets a certificate. Say it as the agent's account.

    Where it is enrolled already, nothing is sent and the token is not used.
    """
    # cryptography: the commands that need none of it do without.
    from agent.identity import enrolment

    try:
        chosen = _settings_if_any(settings)
        if state_directory is not None:
            chosen = chosen.model_copy(update={"state_directory": state_directory})
        plan = enrolment.plan(chosen, server, agent_id, ca_file)
        done = enrolment.enrol(plan, lambda: enrolment.read_token(token_file))
    except (SettingsError, IdentityError) as error:
        _fail(str(error))
        raise
    how = "is enrolled already" if done.already else "is enrolled"
    until = f"{done.identity.not_after:%Y-%m-%d}"
    sys.stdout.write(
        f"{done.identity.agent_id} {how}, at {done.identity.server}; its certificate is good until {until}\n"
    )
    if not done.already:
        sys.stdout.write(f"key and certificate are in {plan.files.folder}; an agent that runs is to be restarted\n")
    if chosen.server and chosen.server.token_file:
        sys.stdout.write("server.token_file still stands in agent.toml, and is what is used: take it out\n")


@app.command(name="once")
def collect_once(settings: SettingsFile = _DEFAULT, *, json: AsJson = False) -> None:
    """Collect everything once and show it. Nothing is sent or stored."""
    _log_to_standard_error()
    try:
        batch = once(_loaded(settings), Document())
    except IdentityError as error:
        _fail(str(error))
        raise
    if json:
        sys.stdout.write(batch.model_dump_json(by_alias=True, exclude_none=True) + "\n")
        return
    # A long detail takes several lines of its own column, and leaves names whole.
    columns = [Column(name, no_wrap=True) for name in ("target", "database", "metric", "status", "rows", "ms")]
    table = Table(*columns, Column("detail", overflow="fold"))
    for ran in batch.runs:
        took = f"{ran.duration_us / 1000:.1f}"
        table.add_row(
            ran.target, str(ran.datid or ""), ran.collector, ran.status, str(ran.rows), took, ran.detail or ""
        )
    Console().print(table)


@app.command()
def check(settings: SettingsFile = _DEFAULT, *, json: AsJson = False) -> None:
    """Say who this agent is, what is missing for its work, and how to mend it. Exit 1 if anything essential is."""
    checked = checks.check(_loaded(settings))
    if json:
        sys.stdout.write(checked.as_json() + "\n")
    else:
        Console(soft_wrap=True, highlight=False).print(str(checked), markup=False)
    if not checked.good:
        raise typer.Exit(1)


@app.command()
def spool(settings: SettingsFile = _DEFAULT, *, json: AsJson = False) -> None:
    """Show what waits to be delivered, what was set aside and why, and which gaps no batch has told of yet."""
    try:
        found = look(_loaded(settings).state_directory / "spool")
    except SpoolError as error:
        _fail(str(error))
        raise
    if json:
        sys.stdout.write(found.as_json() + "\n")
        return
    console = Console(highlight=False)
    oldest = "" if found.oldest_seconds is None else f", the oldest for {found.oldest_seconds:.0f} s"
    console.print(f"{len(found.waiting)} batches wait ({found.size_bytes} bytes{oldest})", markup=False)
    if found.waiting:
        table = Table(*(Column(name, justify="right") for name in ("seq", "bytes", "age in s")))
        for each in found.waiting:
            table.add_row(str(each.seq), str(each.size_bytes), f"{each.age_seconds:.0f}")
        console.print(table)
    console.print(f"{len(found.set_aside)} batches are set aside, in {found.folder / ASIDE}", markup=False)
    if found.set_aside:
        table = Table("batch", "bytes", "reason", "status", Column("detail", overflow="fold"))
        for one in found.set_aside:
            status = "" if one.status is None else str(one.status)
            table.add_row(one.name, str(one.size_bytes), one.reason or "", status, escape(one.detail or ""))
        console.print(table)
    console.print(f"{len(found.state.untold)} gaps are not told yet", markup=False)
    for gap in found.state.untold:
        console.print(f"  {gap.reason}: {gap.batches} batches; {gap.detail or ''}", markup=False)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{__version__}\n")


def _loaded(path: Path) -> Settings:
    try:
        return load(path)
    except SettingsError as error:
        _fail(str(error))
        raise


def _settings_if_any(path: Path) -> Settings:
    try:
        return load(path)
    except SettingsError as error:
        if path == _DEFAULT and isinstance(error.__cause__, FileNotFoundError):
            return Settings()
        raise


def _fail(message: str) -> None:
    sys.stderr.write(f"pganalytics-agent: {message}\n")
    raise typer.Exit(2)


def _log_to_standard_error() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # APScheduler tells of every job; what went wrong with one is in its run.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


if __name__ == "__main__":
    app()
