"""`pganalytics demo`: starts everything, drives a load, shows what arrives or checks it against what was done."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.live import Live

from cli.demo.figures import Figures, Measured
from cli.demo.lab import DemoError, Lab, lab
from cli.demo.screen import screen
from cli.ending import FAILED, fail

#: How long the data may take from the watched server to the store.
_ARRIVAL_SECONDS = 120
_CLIENTS = 2


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Run a fixed number of transactions, check the store against them, and end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print one JSON object.")] = False,
    transactions: Annotated[int, typer.Option(min=2, help="With --once: how many transactions.")] = 2000,
    rate: Annotated[int, typer.Option(min=1, help="Without --once: transactions per second to drive.")] = 200,
    scale: Annotated[int, typer.Option(min=1, help="pgbench's scale: 100,000 accounts each.")] = 1,
) -> None:
    """Watch a real PostgreSQL under load with everything on this machine: nothing else is needed, nothing stays.

    Starts two embedded PostgreSQL servers (the store and the watched one), the server and an agent, drives pgbench and
    shows what arrives in the store.
    """
    if as_json and not once:
        fail("--json goes with --once")
    console = Console(stderr=True)
    try:
        with _ended_by_signals(), lab(lambda step: console.print(f"[dim]{step}[/dim]"), scale) as running:
            if once:
                _report(_check(running, transactions, console), as_json=as_json)
            else:
                _watch(running, rate)
    except DemoError as error:
        fail(str(error), FAILED)
    except KeyboardInterrupt:
        console.print("[dim]ended; nothing is left running[/dim]")
        if once:
            raise typer.Exit(130) from None


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    # SIGTERM and a closed terminal end the demo as Ctrl-C does: through every `finally`.
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(running: Lab, rate: int) -> None:
    # Ends with the lab: the server that it is connected to goes away first, and then so does it.
    bench = subprocess.Popen(
        running.pgbench("-n", "-c", str(_CLIENTS), "-T", str(10**6), "-R", str(rate)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with psycopg.connect(running.store.dsn(), autocommit=True) as connection:
            figures = Figures(connection)
            with Live(screen(figures, running), console=Console(), auto_refresh=False, screen=False) as live:
                while True:
                    running.check()
                    live.update(screen(figures, running), refresh=True)
                    time.sleep(1)
    finally:
        bench.kill()
        bench.wait()


def _check(running: Lab, transactions: int, console: Console) -> dict[str, Any]:
    with psycopg.connect(running.store.dsn(), autocommit=True) as connection, console.status("waiting") as status:
        figures = Figures(connection)
        status.update("waiting for the first readings in the store")
        _wait(running, figures.baseline)
        before = figures.measured()
        status.update(f"pgbench runs {transactions} transactions")
        done = _pgbench(running, transactions)
        status.update("waiting until what pgbench did is in the store")

        def measured() -> Measured:
            now = figures.measured()
            return Measured(
                now.commits - before.commits,
                now.table_inserts - before.table_inserts,
                now.statement_calls - before.statement_calls,
            )

        def enough(found: Measured) -> bool:
            return min(found.table_inserts, found.statement_calls, found.commits) >= done

        # What arrives late must not be missed, and what is too much must show: equal, and still so a reading later.
        arrived = _wait(running, lambda: enough(measured()))
        batches = figures.batches()
        _wait(running, lambda: figures.batches() >= batches + 5)
        found = measured()
        return {
            "ok": arrived and found.table_inserts == found.statement_calls == done and found.commits >= done,
            "pgbench": {"transactions": done},
            "measured": asdict(found),
            "batches": figures.batches(),
            "rows": figures.rows(),
        }


def _pgbench(running: Lab, transactions: int) -> int:
    """Run so many transactions, and answer how many pgbench says it did."""
    clients = _CLIENTS if transactions % _CLIENTS == 0 else 1
    command = running.pgbench("-n", "-c", str(clients), "-t", str(transactions // clients))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.search(r"number of transactions actually processed: (\d+)/\d+", done.stdout)
    if done.returncode or said is None:
        raise DemoError(f"pgbench ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
    return int(said[1])


def _wait(running: Lab, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while time.monotonic() < deadline:
        running.check()
        if condition():
            return True
        time.sleep(0.2)
    return False


def _report(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        verdict = "the store has exactly" if result["ok"] else "NOT OK: the store differs from"
        measured = result["measured"]
        typer.echo(f"{verdict} what pgbench did: {result['pgbench']['transactions']} transactions")
        typer.echo(
            f"measured: {measured['table_inserts']} rows inserted by {measured['statement_calls']} statements, "
            f"{measured['commits']} commits"
        )
        typer.echo(f"{result['batches']} batches, {sum(result['rows'].values())} rows")
    if not result["ok"]:
        raise typer.Exit(FAILED)
