"""`pganalytics replay`: loads again what lies in the bucket."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.dsn import DsnFile, Into, IntoFile, other_dsn, store_dsn
from cli.ending import FAILED, fail
from cli.instants import instant
from contracts.names import AgentId

if TYPE_CHECKING:
    from functions.ingest.replay import Summary, Wanted


def replay(
    bucket_url: Annotated[
        str, typer.Option(envvar="PGANALYTICS_BUCKET_URL", help="The bucket: s3://name or file:///folder.")
    ],
    store_dsn_file: DsnFile = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Batches closed at this instant or later.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Batches closed before this instant.")] = None,
    agent: Annotated[list[str] | None, typer.Option(help="Only this agent's; may be given more than once.")] = None,
    into: Into = None,
    into_file: IntoFile = None,
    keep_days: Annotated[
        int,
        typer.Option(
            envvar="PGANALYTICS_KEEP_DAYS",
            min=1,
            max=3650,
            help="What is older than so many days is left out; PGANALYTICS_KEEP_DAYS_BY_METRIC wins.",
        ),
    ] = 30,
    *,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Only what is in quarantine; what loads now leaves it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load nothing; say what the store has and what it has not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Load batches from the bucket again: a stretch of time, some agents, the quarantine, or everything.

    What the store has already stays as it is, so doing it again changes nothing. A TIME is ISO 8601 with its zone; a
    date alone is its midnight in UTC. Exit code: 0, every object is loaded; 1, some could not be, or were refused; 2,
    how it was called; 130, it was stopped by Ctrl-C.
    """
    from functions.environment import EnvironmentVariableError, read
    from functions.ingest import replay as replaying  # the SDK of AWS takes a while to import
    from functions.ingest.bucket import BucketUnavailableError, open_bucket
    from functions.retention import Retention, RetentionEnvironment
    from functions.store import Store, StoreUnavailableError

    # A day without a partition is nothing to warn of: the loader makes one.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    wanted = _wanted(from_, to, agent)
    try:
        bucket = open_bucket(bucket_url)
        retention = Retention(keep_days, read(RetentionEnvironment).keep_days_by_metric)
    except ValueError as error:
        fail(f"--bucket-url: {error}")
    except EnvironmentVariableError as error:
        fail(str(error))
    store = Store(other_dsn(into, into_file) or store_dsn(store_dsn_file), "pganalytics replay")
    began, summary = time.monotonic(), replaying.Summary()
    trouble, stopped = "", 0
    try:
        replaying.check(store)
        keys = replaying.find_quarantined(bucket, store, wanted) if quarantined else replaying.find(bucket, wanted)

        def count() -> int:
            return replaying.count_quarantined(store, wanted) if quarantined else replaying.count(bucket, wanted)

        told = replaying.rehearse(keys, store) if dry_run else replaying.replay(keys, bucket, store, retention)
        # A rehearsal is little more than a listing itself.
        with _progress(None if dry_run else count) as progress, _stopping() as asked:
            for summary in told:
                progress(summary)
                if asked:
                    stopped = asked[0]
                    break
    except replaying.SchemaMissingError as error:
        fail(str(error))
    except (BucketUnavailableError, StoreUnavailableError) as error:
        trouble = str(error)
    finally:
        store.close()
    _report(summary, time.monotonic() - began, dry_run=dry_run, stopped=bool(stopped), as_json=as_json)
    if trouble:
        fail(f"{trouble}; do it again: what is loaded stays", FAILED)
    if stopped:
        raise typer.Exit(128 + stopped)
    if not summary.clean:
        raise typer.Exit(FAILED)


def _wanted(from_: str | None, to: str | None, agents: list[str] | None) -> Wanted:
    from functions.ingest.replay import Wanted

    from_at = None if from_ is None else instant("--from", from_)
    to_at = None if to is None else instant("--to", to)
    if from_at is not None and to_at is not None and from_at >= to_at:
        fail("--from: not before --to")
    for each in agents or ():
        try:
            TypeAdapter[str](AgentId).validate_python(each)
        except ValidationError:
            fail(f"--agent {each}: not the id of an agent")
    return Wanted(from_at, to_at, tuple(sorted(set(agents or ()))))


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """The signals that asked to stop after the chunk in hand; a second one does not wait for that."""
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    before = {int(number): signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(count: Callable[[], int] | None) -> Iterator[Callable[[Summary], None]]:
    """A bar for people; `count` says how many objects there are, and is asked only where somebody looks."""
    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(20), TaskProgressColumn(), TimeElapsedColumn(), text)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        task = shown.add_task("looking into the bucket", total=None)
        if count is not None and console.is_terminal:
            shown.update(task, total=count(), refresh=True)
        yield lambda summary: shown.update(task, description=_line(summary), completed=summary.objects)


def _line(summary: Summary) -> str:
    place = "/".join(summary.last.split("/")[2:4])
    return f"{summary.objects} objects, {summary.rows} rows; now {place}"


def _report(summary: Summary, seconds: float, *, dry_run: bool, stopped: bool, as_json: bool) -> None:
    if as_json:
        told = {name: value for name, value in asdict(summary).items() if name not in {"last", "problems"}}
        problems = [{"object_key": key, "reason": reason} for key, reason in summary.problems]
        whole = {**told, "seconds": round(seconds, 3), "dry_run": dry_run, "stopped": stopped, "problems": problems}
        typer.echo(json.dumps(whole, indent=2))
        return
    for key, reason in summary.problems:
        typer.echo(f"pganalytics: {key}: {reason}", err=True)
    if dry_run:
        typer.echo(f"{summary.objects} objects: {summary.new} that the store has not, {summary.already} that it has")
        return
    typer.echo(
        f"{summary.objects} objects{' before it was stopped' * stopped}: {summary.new} loaded, {summary.already} there "
        f"already, {summary.quarantined} in quarantine, {summary.failed} failed; {summary.rows} rows in {seconds:.1f} s"
    )
    if summary.beyond_retention:
        typer.echo(f"{summary.beyond_retention} frames are older than --keep-days and were left out")
