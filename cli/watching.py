"""Shows a release, and follows it to its end: a bar on a terminal, and else a line for each thing that happens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.api import ApiError
from cli.instants import utc
from contracts.configuration import Gates, Release

#: A server that is away for longer than this ends the watch; a restart of it does not.
AWAY_SECONDS = 300.0

_ENDED = {"done", "halted", "aborted"}


def watch(look: Callable[[], Release], release: Release, every: float, *, quiet: bool) -> Release:
    """The release as it ended; on the way it is looked at every so many seconds, and shown unless `quiet`.

    Raises:
        ApiError: the server refused, or is away for long.
    """
    answered = time.monotonic()
    with _shown(quiet=quiet) as show:
        show(release)
        while release.state not in _ENDED:
            time.sleep(every)
            try:
                release = look()
                answered = time.monotonic()
            except ApiError as error:
                # Without a status nobody answered, and what is 5xx is over soon.
                if (error.status or 500) < 500 or time.monotonic() - answered > AWAY_SECONDS:
                    raise
            show(release)
    return release


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Release], None]]:
    console = Console(stderr=True, highlight=False, emoji=False)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        where, given = TextColumn("{task.description}", markup=False), TextColumn("{task.completed} of {task.total}")
        with Progress(where, BarColumn(), given, TimeElapsedColumn(), console=console, transient=True) as bar:
            task = bar.add_task("")
            yield lambda release: bar.update(
                task, description=_where(release), completed=release.touched, total=release.agents
            )
    else:
        lines: list[str] = []

        def show(release: Release) -> None:
            line = f"{_where(release)}: given to {release.touched} of {release.agents} agents"
            if line not in lines[-1:]:
                lines.append(line)
                typer.echo(line, err=True)

        yield show


def _where(release: Release) -> str:
    place = f"stage {release.stage + 1} of {len(release.stages)} ({release.stages[release.stage]})"
    return f"release {release.id} is {release.state}, {place}"


def print_release(release: Release, console: Console) -> None:
    """What it is, how far it is, and what happened to it."""
    console.print(
        f"release {release.id} of {release.scope}: version {release.from_version} -> {release.to_version}, "
        f"{release.state}, by {release.created_by}, {utc(release.created_at)}",
        markup=False,
        soft_wrap=True,
    )
    for line in (
        f"stages: {', '.join(release.stages)}; at {release.stages[release.stage]} since {utc(release.stage_since_at)}, "
        f"each bakes {release.bake_seconds} s",
        f"given to {release.touched} of {release.agents} agents",
        f"gates: {_gates(release.gates)}",
        *([f"reason: {release.reason}"] if release.reason else []),
        *([f"comment: {release.comment}"] if release.comment else []),
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if release.events:
        table = Table("at", "event", "stage", "by", "detail", box=None, header_style="bold")
        for each in release.events:
            detail = json.dumps(each.detail, ensure_ascii=False) if each.detail else ""
            stage = release.stages[each.stage] if each.stage < len(release.stages) else str(each.stage)
            # Text, not str: what comes from agents is no markup of ours.
            table.add_row(*(Text(cell) for cell in (utc(each.at), each.event, stage, each.actor, detail)))
        console.print(table)


def _gates(gates: Gates) -> str:
    shares = {"errors": gates.errors, "missing": gates.missing}
    multiples = {"agent_cpu": gates.agent_cpu, "db_time": gates.db_time}
    told = [f"{name}={share * 100:.4g}%" for name, share in shares.items()]
    told += [f"{name}={'off' if most is None else f'{most:.4g}x'}" for name, most in multiples.items()]
    return ", ".join(told)
