"""What a fleet costs on AWS in a month, and which limit it meets first, from figures that are measured in this run.

An agent with default settings watches a host and a small server for some minutes. Its batches, as those of many such
hosts for an hour, then go the way of all batches: door, loader, rollup, retention. Prices and limits are looked up
(benchmarks/prices.toml, benchmarks/limits.py); what is neither measured nor looked up is listed as an assumption.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from benchmarks.clock import Took
from benchmarks.costs import (
    GB,
    PRICES,
    TRANSPORTS,
    Assumptions,
    Item,
    Module,
    Price,
    Work,
    acu,
    bill,
    read_prices,
    stored,
    work,
)
from benchmarks.hosts import sample
from benchmarks.limits import Limit, limits
from benchmarks.measured import Measured, measure
from benchmarks.recorded import TABLES

_FLEETS = (1000, 10_000, 100_000)

#: What reads every 15 minutes is read once after its first time.
_MINUTES = 16

_LOADED_HOSTS = 40


@dataclass(frozen=True)
class Reckoned:
    """All that is printed."""

    measured: Measured
    assumptions: Assumptions
    module: Module
    prices: Mapping[str, Price]
    fleets: Sequence[int]

    def work(self, transport: str) -> Work:
        return work(self.measured, self.assumptions, self.module, transport)

    def bill(self, transport: str, hosts: int) -> list[Item]:
        return bill(self.work(transport), hosts, self.assumptions, self.module, self.prices)

    def limits(self, transport: str) -> list[Limit]:
        return limits(self.measured, self.work(transport), self.assumptions, self.module)


def main(arguments: Sequence[str] = ()) -> None:
    told = _parser().parse_args(arguments)
    console = Console(stderr=told.json, width=None if sys.stdout.isatty() else 150)
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
        print(json.dumps(_as_json(reckoned), indent=2))
    else:
        _print(console, reckoned)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--hosts", type=_numbers, default=_FLEETS, help="sizes of fleets: 1000,10000,100000")
    parser.add_argument("--prices", type=Path, default=PRICES, help="a file with other prices (TOML)")
    parser.add_argument("--assume", type=_assumption, action="append", default=[], help="another value: NAME=NUMBER")
    parser.add_argument("--tables", type=int, default=TABLES, help="tables of the server, with three indexes each")
    parser.add_argument("--minutes", type=int, default=_MINUTES, help="minutes for which the agent works")
    parser.add_argument("--sample", type=Path, help="a folder where its batches stay, and are found the next time")
    parser.add_argument("--loaded-hosts", type=int, default=_LOADED_HOSTS, help="hosts of which an hour is loaded")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part.replace("_", "")) for part in text.split(","))


def _assumption(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in (names := [each.name for each in fields(Assumptions)]):
        raise argparse.ArgumentTypeError(f"{name}: there are {', '.join(names)}")
    return name, float(value)


def _as_json(of: Reckoned) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "measured": asdict(of.measured),
        "assumed": asdict(of.assumptions),
        "prices": {name: asdict(price) for name, price in of.prices.items()},
        "module": {"memory": dict(of.module.memory), "defaults": dict(of.module.defaults)},
        "host_hour": {each: asdict(of.work(each)) for each in TRANSPORTS},
        "bill": {
            each: {str(hosts): [asdict(item) for item in of.bill(each, hosts)] for hosts in of.fleets}
            for each in TRANSPORTS
        },
        "limits": {each: [asdict(limit) for limit in of.limits(each)] for each in TRANSPORTS},
    }


def _print(console: Console, of: Reckoned) -> None:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    console.print(f"[bold]{datetime.now(UTC):%Y-%m-%d}, on {machine}")
    console.print(*(_measured(of.measured), _looked_up(of.prices), _assumed(of.assumptions)), sep="\n")
    console.print(_fleet(of), *(_bills(of, hosts) for hosts in of.fleets), _levers(of), sep="\n")
    console.print(_first(of), _limits(of), sep="\n")


def _measured(m: Measured) -> Table:
    table = Table("measured", Column(justify="right"), title=f"A host with a server of {m.tables} tables")

    def took(name: str, each: Took) -> None:
        table.add_row(name, f"{each.wall_ms:,.2f} ms, CPU {each.own_ms:,.2f}, store's CPU {each.store_ms:,.2f}")

    table.add_row("sample: minutes; targets", f"{m.minutes}; {m.targets}")
    table.add_row("rows a batch", f"{m.rows_a_batch:,.0f}")
    table.add_row("bytes a batch, gzip", f"{m.batch_bytes:,.0f}, the first {m.first_batch_bytes:,}")
    table.add_row("bytes a batch, inflated", f"{m.inflated_bytes:,.0f}")
    took("door, a batch", m.answers.batch)
    took("door, a signed address", m.answers.upload)
    took("authorizer, a request", m.answers.authorize)
    took("configuration, 304", m.answers.unchanged)
    took("access token", m.answers.token)
    took("loader, a batch, ten an event", m.load)
    took("loader, a batch, one an event", m.load_singly)
    table.add_row("loader, a row", f"{m.load.wall_ms / m.rows_a_batch * 1000:,.0f} µs")
    table.add_row("store's log of a batch", f"{m.load_wal_bytes:,.0f} B")
    table.add_row("store, a row with its index", f"{m.row_bytes:,.0f} B")
    table.add_row("store, runs and frames of a batch", f"{m.record_bytes:,.0f} B")
    table.add_row("ledger, a batch", f"{m.ledger_bytes:,.0f} B")
    took("rollup, an hour of a host", m.rollup)
    table.add_row("rollup, rows and bytes of it", f"{m.rollup_rows:,.0f}, {m.rollup_bytes:,.0f} B")
    table.add_row("partitions a day", f"{m.partitions_a_day:.0f}")
    took("making a day", m.make_day)
    took("dropping a partition", m.drop_partition)
    took("reconciler, 1,000 objects", m.look_up)
    return table


def _looked_up(prices: Mapping[str, Price]) -> Table:
    table = Table("price", Column("$", justify="right"), "for", "list price looked up", title="Looked up, eu-central-1")
    for name, price in prices.items():
        date = price.looked_up or f"assumed: {price.assumed}"
        table.add_row(name, f"{price.usd:.10f}".rstrip("0"), f"{price.per:,} {price.unit}", date)
    return table


def _assumed(assumptions: Assumptions) -> Table:
    table = Table("assumption", Column(justify="right"), "", title="Neither measured nor looked up")
    for each in fields(assumptions):
        table.add_row(each.name, f"{getattr(assumptions, each.name):,g}", each.metadata["help"])
    return table


def _fleet(of: Reckoned) -> Table:
    table = Table("computed, transport http", *(Column(f"{n:,} hosts", justify="right") for n in of.fleets))
    each, kept = of.work("http"), stored(of.work("http"), of.module)

    def row(name: str, a_host: float, form: str = ",.0f") -> None:
        table.add_row(name, *(format(a_host * hosts, form) for hosts in of.fleets))

    row("batches a second", each.batches / 3600, ",.1f")
    row("requests a second", each.requests / 3600, ",.1f")
    row("rows a second", each.rows / 3600)
    row("rows a day, millions", each.rows * 24 / 1e6)
    row("loaders busy", each.seconds["loader"] / 3600, ",.1f")
    row("functions at a time", sum(each.seconds.values()) / 3600, ",.1f")
    row("store's cores busy", each.store_seconds / 3600, ",.1f")
    table.add_row("ACU", *(f"{acu(each, hosts, of.assumptions):,.1f}" for hosts in of.fleets))
    row("bucket, TB", kept.bucket / GB / 1000, ",.2f")
    row("store: metrics, runs, frames, TB", kept.metrics / GB / 1000, ",.2f")
    row("store: rollups, TB", kept.rollups / GB / 1000, ",.2f")
    row("store: the ledger of a year, TB", kept.ledger_a_year / GB / 1000, ",.2f")
    return table


def _bills(of: Reckoned, hosts: int) -> Table:
    transports = (Column(each, justify="right") for each in TRANSPORTS)
    title = f"$ a month for 1,000 hosts, in a fleet of {hosts:,}"
    table = Table("item", Column("quantity, http", justify="right"), *transports, title=title)
    bills = [of.bill(transport, hosts) for transport in TRANSPORTS]
    for items in zip(*bills, strict=True):
        first = items[0]
        quantity = f"{first.quantity * 1000 / hosts:,.0f} {first.unit}"
        table.add_row(first.name, quantity, *(f"{item.usd * 1000 / hosts:,.2f}" for item in items))
    table.add_section()
    table.add_row("[bold]all", "", *(f"[bold]{sum(i.usd for i in items) * 1000 / hosts:,.0f}" for items in bills))
    return table


def _levers(of: Reckoned) -> Table:
    hosts = of.fleets[0]
    title = f"$ a month for 1,000 hosts, in a fleet of {hosts:,}, transport http"
    table = Table("lever", Column("all", justify="right"), title=title)
    days = of.module.defaults
    fewer = Module(of.module.memory, {**days, "rollup_keep_days": 90})
    for name, each in {
        "as it comes": of,
        "pull_every_seconds = 300": _assuming(of, pull_every_seconds=300),
        "upload_every_seconds = 300": _assuming(of, upload_every_seconds=300),
        "both": _assuming(of, upload_every_seconds=300, pull_every_seconds=300),
        "both, authorizer's answers kept 5 minutes": _assuming(
            of, upload_every_seconds=300, pull_every_seconds=300, authorizer_hits=0.5
        ),
        "rollup_keep_days = 90": replace(of, module=fewer),
    }.items():
        table.add_row(name, f"{sum(item.usd for item in each.bill('http', hosts)) * 1000 / hosts:,.0f}")
    return table


def _assuming(of: Reckoned, **changed: float) -> Reckoned:
    return replace(of, assumptions=replace(of.assumptions, **changed))


def _first(of: Reckoned) -> Table:
    table = Table("hosts", "beyond its limit", "with", "then", title="Limits met by a fleet, the first one first")
    found = of.limits("http")
    for hosts in of.fleets:
        met = [limit for limit in found if limit.hosts < hosts]
        for number, limit in enumerate(met or found[:1]):
            name = limit.name if met else f"none; the nearest: {limit.name}"
            table.add_row(f"{hosts:,}" if number == 0 else "", name, f"{limit.hosts:,.0f}", limit.then)
        table.add_section()
    return table


def _limits(of: Reckoned) -> Table:
    columns = (Column(each, justify="right") for each in TRANSPORTS)
    table = Table("limit", "kind", *columns, title="Hosts with which each limit is met")
    by = {transport: {limit.name: limit for limit in of.limits(transport)} for transport in TRANSPORTS}
    for name, limit in by["http"].items():
        table.add_row(name, limit.kind, *(f"{by[transport][name].hosts:,.0f}" for transport in TRANSPORTS))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
