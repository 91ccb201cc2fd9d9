"""The tables of `python -m benchmarks.scaling`: what was measured, looked up, assumed, and computed of all three."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Column, Table

from benchmarks.clock import Took
from benchmarks.costs import GB, HOURS_A_MONTH, Item, Price, acu, stored
from benchmarks.measured import Measured
from benchmarks.reckoned import Reckoned
from benchmarks.work import TRANSPORTS, Assumptions, replayed_ms


def show(console: Console, of: Reckoned, *, markdown: bool) -> None:
    """Print them all, for a terminal or for a page."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    console.print(f"{datetime.now(UTC):%Y-%m-%d}, on {machine}\n")
    for table in (
        _measured(of.measured),
        _looked_up(of.prices),
        _assumed(of.assumptions),
        _fleet(of),
        _bill(of),
        _totals(of),
        _levers(of),
        _first(of),
        _limits(of),
    ):
        if markdown:
            console.print(f"**{table.title}**")
            table.title, table.box = None, MARKDOWN
            for row in table.rows:
                row.end_section = False
        console.print(table, "")


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
    largest = (f"{name.rpartition('.')[2]} {share:.0%}" for name, share in m.largest.items())
    table.add_row("store, the largest tables", ", ".join(largest))
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
    title = "What fleets ask for"
    table = Table(
        "computed, transport http", *(Column(f"{n:,} hosts", justify="right") for n in of.fleets), title=title
    )
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
    hours = replayed_ms(of.measured, of.assumptions) * 60 * 24 / 3_600_000
    row("loading a day again by one replay, hours", hours, ",.1f")
    row("bucket, TB", kept.bucket / GB / 1000, ",.2f")
    row("store: metrics, runs, frames, TB", kept.metrics / GB / 1000, ",.2f")
    row("store: rollups, TB", kept.rollups / GB / 1000, ",.2f")
    row("store: the ledger, TB", kept.ledger / GB / 1000, ",.2f")
    return table


def _bill(of: Reckoned) -> Table:
    hosts = of.fleets[0]
    transports = (Column(each, justify="right") for each in TRANSPORTS)
    title = f"$ a month for 1,000 hosts, in a fleet of {hosts:,}"
    table = Table("item", Column("quantity, http", justify="right"), *transports, title=title)
    bills = [of.bill(transport, hosts) for transport in TRANSPORTS]
    for items in zip(*bills, strict=True):
        first = items[0]
        quantity = f"{first.quantity * 1000 / hosts:,.0f} {first.unit}"
        table.add_row(first.name, quantity, *(f"{item.usd * 1000 / hosts:,.2f}" for item in items))
    table.add_section()
    table.add_row("all", "", *(f"{_total(items) * 1000 / hosts:,.0f}" for items in bills))
    return table


def _total(items: Sequence[Item]) -> float:
    return sum(item.usd for item in items)


def _totals(of: Reckoned) -> Table:
    columns = (Column(f"a fleet of {hosts:,}", justify="right") for hosts in of.fleets)
    table = Table("transport", *columns, title="$ a month for 1,000 hosts")
    for transport in TRANSPORTS:
        table.add_row(transport, *(f"{_total(of.bill(transport, hosts)) * 1000 / hosts:,.0f}" for hosts in of.fleets))
    return table


def _levers(of: Reckoned) -> Table:
    hosts = of.fleets[0]
    title = f"$ a month for 1,000 hosts, in a fleet of {hosts:,}, transport http"
    table = Table("lever", Column("all", justify="right"), title=title)
    slower = {"upload_every_seconds": 300.0, "pull_every_seconds": 300.0}
    for name, each in {
        "as it comes": of,
        "pull_every_seconds = 300": of.assuming(pull_every_seconds=300),
        "upload_every_seconds = 300": of.assuming(upload_every_seconds=300),
        "both": of.assuming(**slower),
        "authorizer_cache_seconds = 300": of.saying(authorizer_cache_seconds=300),
        "bucket_keep_days = 30": of.saying(bucket_keep_days=30),
        "rollup_keep_days = 90": of.saying(rollup_keep_days=90),
        "database.instances = 1": of.assuming(instances=1),
        "all of these": of.assuming(**slower, instances=1).saying(
            authorizer_cache_seconds=300, bucket_keep_days=30, rollup_keep_days=90
        ),
    }.items():
        table.add_row(name, f"{_total(each.bill('http', hosts)) * 1000 / hosts:,.0f}")
    table.add_row("NAT in the place of endpoints", f"{_with_nat(of, hosts) * 1000 / hosts:,.0f}")
    return table


def _with_nat(of: Reckoned, hosts: int) -> float:
    """Through which goes what the loader reads, unless S3 has a gateway endpoint."""
    others = [item for item in of.bill("http", hosts) if not item.name.startswith("VPC")]
    read = of.work("http").batch_bytes * HOURS_A_MONTH * hosts / GB
    gateways = of.prices["nat"].of(of.assumptions.zones * HOURS_A_MONTH)
    return _total(others) + gateways + of.prices["nat_data"].of(read)


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
