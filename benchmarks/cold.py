"""A cold start of every function from its artifact: from the start of its process to the answer to its first event.

The true runtime client runs them against a stand-in for the Runtime API; secrets, bucket and queue are moto's, the
store is a PostgreSQL. The reference, in the same run: a handler that imports nothing and answers at once.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.standalone.embedded import THROWAWAY, embedded_postgres
from tests.aws import moto
from tests.infra.standalone.serving import new_store
from tests.lambdas.aws import Deployment
from tests.lambdas.canned import CANNED
from tests.lambdas.runtime import Deployed, Running, running, runtime_client

#: What each function is to keep to, on a quiet machine of two cores.
AIM_MS = 400

_STARTS = 7
_EMPTY = "an empty handler"


@dataclass
class Measured:
    """Milliseconds of each start: by the clock, and of processor; and of a second event, which finds all warm."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def main() -> None:
    console = Console()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    runtime_client()
    with moto() as aws, embedded_postgres(THROWAWAY) as server, tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(aws, new_store(server))
        deployment.prepare()
        empty = Path(folder, "empty.py")
        empty.write_text("def handler(event, context):\n    return event\n")
        deployed = {_EMPTY: Deployed(empty.parent, "empty.handler", {}), **deployment.functions()}
        events = {name: (dict) if name == _EMPTY else _event(name, deployment) for name in deployed}
        found = _measured(deployed, events, console)
    table = Table("function", "cold ms", "slowest", "above empty", "x empty", "processor ms", "warm ms")
    least = statistics.median(found[_EMPTY].wall)
    for name, each in found.items():
        cold = statistics.median(each.wall)
        shown = (cold, max(each.wall), cold - least, cold / least)
        warm = statistics.median(each.warm)
        row = [*(f"{value:.0f}" for value in shown[:3]), f"{shown[3]:.1f}", f"{statistics.median(each.cpu):.0f}"]
        style = "red" if cold > AIM_MS else None
        table.add_row(name, *row, f"{warm:.1f}", style=style)
    console.print(table, f"medians of {_STARTS} starts, the functions in turn; aim {AIM_MS} ms")


def _event(name: str, deployment: Deployment) -> Callable[[], object]:
    return lambda: CANNED[name].event(deployment)


def _measured(
    deployed: Mapping[str, Deployed], events: Mapping[str, Callable[[], object]], console: Console
) -> dict[str, Measured]:
    found = {name: Measured() for name in deployed}
    for number in track(range(_STARTS + 1), "cold starts", console=console):
        for name, function in deployed.items():
            event = events[name]()
            began = time.perf_counter()
            with running(function) as started:
                started.invoke(event)
                wall = (time.perf_counter() - began) * 1000
                cpu = _cpu_ms(started)
                again = time.perf_counter()
                started.invoke(events[name]())
                warm = (time.perf_counter() - again) * 1000
            if number:  # the first reads files that nobody has read before
                found[name].wall.append(wall)
                found[name].cpu.append(cpu)
                found[name].warm.append(warm)
    return found


def _cpu_ms(started: Running) -> float:
    times = psutil.Process(started.pid).cpu_times()
    return float(times.user + times.system) * 1000
