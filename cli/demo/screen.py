"""The demo's live picture of what arrives in the store."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.demo.figures import Figures
from cli.demo.lab import Lab

_BARS = " ▁▂▃▄▅▆▇█"

#: As many as are as high as what stands beside them.
_METRICS = 24


def screen(figures: Figures, lab: Lab) -> RenderableType:
    """One picture of the store as it stands."""
    pair = Table.grid(expand=True, padding=(0, 1))
    pair.add_column(ratio=2)
    pair.add_column(ratio=3)
    pair.add_row(_rows(figures), Group(*(part(figures) for part in (_rates, _busiest, _statements, _host, _log))))
    return Group(_head(figures, lab), pair)


def _head(figures: Figures, lab: Lab) -> Panel:
    fleet = figures.fleet()
    text = Text.assemble(("pgAnalytics demo", "bold"), f"   server {lab.url}   Ctrl-C ends it\n")
    if fleet is None:
        text.append("waiting for the first batch")
    else:
        text.append(
            f"agent {fleet['agent_version']}, "
            f"configuration version {fleet['config_version']} {fleet['config_state']}   "
            f"{fleet['batches']} batches loaded, {fleet['quarantined']} quarantined, "
            f"{fleet['troubled_runs']} collector runs in trouble"
        )
    return Panel(text)


def _rows(figures: Figures) -> Panel:
    table = Table("metric", expand=True, box=None)
    table.add_column("rows in the store", justify="right")
    by_rows = sorted(figures.rows().items(), key=lambda each: (-each[1], each[0]))
    for name, rows in by_rows[:_METRICS]:
        table.add_row(name, f"{rows:,}")
    others = [rows for _, rows in by_rows[_METRICS:]]
    table.add_row(f"{len(others)} others", f"{sum(others):,}", style="dim")
    return Panel(table, title="what arrives")


def _rates(figures: Figures) -> Panel:
    rates = [rate for _, rate in figures.commits_per_second()]
    if not rates:
        return Panel("waiting for two readings", title="transactions per second")
    highest = max(*rates, 1.0)
    bars = "".join(_BARS[round(rate / highest * (len(_BARS) - 1))] for rate in reversed(rates))
    return Panel(Text.assemble((f"{rates[0]:8,.0f}  ", "bold"), (bars, "green")), title="transactions per second")


def _busiest(figures: Figures) -> Panel:
    table = Table("relation", expand=True, box=None)
    for heading in ("inserted", "updated", "deleted", "seq scans", "cache hits"):
        table.add_column(heading, justify="right")
    for row in figures.busiest():
        blocks = (row["heap_blks_read"] or 0) + (row["heap_blks_hit"] or 0)
        hits = f"{row['heap_blks_hit'] / blocks:.1%}" if blocks else "-"
        counts = (row["inserted"], row["updated"], row["deleted"], row["seq_scan"])
        table.add_row(row["relation"], *("-" if count is None else f"{count:,}" for count in counts), hits)
    return Panel(table, title="busiest tables, last 30 seconds")


def _statements(figures: Figures) -> Panel:
    table = Table(expand=True, box=None)
    table.add_column("statement", no_wrap=True, overflow="ellipsis", ratio=1)
    for heading in ("calls", "ms", "rows"):
        table.add_column(heading, justify="right")
    for row in figures.statements():
        counts = ("-" if row[name] is None else f"{row[name]:,}" for name in ("calls", "rows"))
        calls, rows = counts
        spent = "-" if row["time_us"] is None else f"{row['time_us'] / 1000:,.1f}"
        table.add_row(" ".join((row["query"] or "?").split()), calls, spent, rows)
    return Panel(table, title="statements by execution time, last 30 seconds")


def _host(figures: Figures) -> Panel:
    row = figures.host()
    if row is None:
        return Panel("waiting for two readings", title="host")
    share = (
        {part: row[f"{part}_us"] / row["all_us"] for part in ("user", "system", "iowait", "steal")}
        if row["all_us"]
        else {}
    )
    gib = 2**30
    written = float(row["written_bytes_per_second"] or 0) / 1e6
    return Panel(
        "cpu " + " ".join(f"{part} {value:.0%}" for part, value in share.items()) + f"   load {row['load_1m']:.2f}\n"
        f"memory available {row['available_bytes'] / gib:.1f} of {row['total_bytes'] / gib:.1f} GiB   "
        f"disks written {written:.1f} MB/s",
        title="host",
    )


def _log(figures: Figures) -> Panel:
    lines = [
        Text(f"{row['logged_at']:%H:%M:%S} {row['severity']}  {row['message']}", no_wrap=True, overflow="ellipsis")
        for row in figures.log()
        if row["logged_at"]
    ]
    return Panel(Group(*lines) if lines else "nothing yet", title="server log, literals taken out")
