"""What a fleet costs on AWS in a month, and which limit it meets first, from figures that are measured in this run.

An agent with default settings watches a host and a small server for some minutes. Its batches, as those of many such
hosts for an hour, then go the way of all batches: door, loader, rollup, retention. Prices and limits are looked up
(benchmarks/prices.toml, benchmarks/limits.py); what is neither measured nor looked up is listed as an assumption.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from rich.console import Console

from benchmarks.costs import PRICES, read_prices
from benchmarks.hosts import sample
from benchmarks.measured import measure
from benchmarks.reckoned import Reckoned
from benchmarks.recorded import TABLES
from benchmarks.tables import show
from benchmarks.work import Assumptions, Module

_FLEETS = (1000, 10_000, 100_000)

#: What reads every 15 minutes is read once after its first time.
_MINUTES = 16

_LOADED_HOSTS = 40


def main(arguments: Sequence[str] = ()) -> None:
    told = _parser().parse_args(arguments)
    console = Console(stderr=told.json, width=None if sys.stdout.isatty() else 1000 if told.markdown else 150)
    try:
        prices = read_prices(told.prices)
    except (OSError, ValueError) as error:
        sys.exit(f"--prices: {error}")
    with tempfile.TemporaryDirectory(prefix="pganalytics-") as scratch:
        folder = told.sample or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sampled = sample(folder, told.tables, told.minutes, console)
    assumptions = replace(Assumptions(), **dict(told.assume))
    measured = measure(sampled, told.loaded_hosts, told.tables, console)
    reckoned = Reckoned(measured, assumptions, Module.read(), prices, told.hosts)
    if told.json:
        print(json.dumps(reckoned.as_json(), indent=2))
    else:
        show(console, reckoned, markdown=told.markdown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--hosts", type=_numbers, default=_FLEETS, help="sizes of fleets: 1000,10000,100000")
    parser.add_argument("--prices", type=Path, default=PRICES, help="a file with other prices (TOML)")
    parser.add_argument("--assume", type=_assumption, action="append", default=[], help="another value: NAME=NUMBER")
    parser.add_argument("--tables", type=int, default=TABLES, help="tables of the server, with three indexes each")
    parser.add_argument("--minutes", type=int, default=_MINUTES, help="minutes for which the agent works")
    parser.add_argument("--sample", type=Path, help="a folder where its batches stay, and are found the next time")
    parser.add_argument("--loaded-hosts", type=int, default=_LOADED_HOSTS, help="hosts of which an hour is loaded")
    parser.add_argument("--markdown", action="store_true", help="the tables as docs/explanation/scaling.md has them")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part.replace("_", "")) for part in text.split(","))


def _assumption(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in (names := [each.name for each in fields(Assumptions)]):
        raise argparse.ArgumentTypeError(f"{name}: there are {', '.join(names)}")
    return name, float(value)


if __name__ == "__main__":
    main(sys.argv[1:])
