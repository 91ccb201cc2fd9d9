"""Prints the plain SQL of metrics, drafted from the catalogue, for the author of a migration to paste.

Usage: python -m infra.database.draft METRIC...

A migration is a snapshot: it never reads the catalogue itself. A test compares the tables with the catalogue.
"""

from __future__ import annotations

import sys

from contracts.metrics import CATALOGUE, Kind, Metric


def table(metric: Metric) -> str:
    """The table, partitioned by day, and its one index."""
    columns = [
        f"    {name} {type_}{' not null' if name in _placing(metric) or name in metric.key else ''}"
        for name, type_ in metric.stored
    ]
    return (
        f"create table metric.{metric.name} (\n"
        + ",\n".join(columns)
        + "\n) partition by range (collected_at);\n"
        + f"create index on metric.{metric.name} (target_id, collected_at);\n"
    )


def _placing(metric: Metric) -> tuple[str, ...]:
    return tuple(name for name, _ in metric.stored if name not in metric.names)


def delta(metric: Metric) -> str:
    """The function that computes deltas of one target in a stretch of time, and the view of all of them."""
    placed = [name for name in ("datid",) if name in _placing(metric)]
    partition = ", ".join(["m.target_id", *(f"m.{name}" for name in (*placed, *metric.key))])
    # A full frame has every key: one that is missing in it was gone, and came back as another.
    same = ["m.epoch = (p).epoch", "(p).collected_at >= coalesce(f.full_at, '-infinity')"]
    same += ["not m.gone", "not (p).gone"] if metric.changes else []
    same += [f"m.{name} is not distinct from (p).{name}" for name in metric.resets]
    # A counter that fell where nothing says that counters began anew is shown as that, and no difference is guessed.
    fell = ", ".join(f"m.{name} - (p).{name}" for name in metric.counters)
    columns = [
        f"case when not fell then m.{c.name} - (p).{c.name} end" if c.kind is Kind.COUNTER else f"m.{c.name}"
        for c in metric.columns
    ]
    head = ["m.target_id", "m.collected_at", "f.since_at", "coalesce(fell, false)", *(f"m.{name}" for name in placed)]
    returns = ["target_id bigint", "collected_at timestamptz", "since_at timestamptz", "fell boolean"]
    returns += [f"{name} oid" for name in placed]
    returns += [f"{column.name} {column.type}" for column in metric.columns]
    on = " and ".join(["f.collected_at = m.collected_at", *(f"f.{name} = m.{name}" for name in placed)])
    gone = "\n      and not m.gone" if metric.changes else ""
    return f"""create function delta.{metric.name}(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    {lines(returns)}
) language sql stable as $$
    select
        {lines(head + columns, 8)}
    from (
        select m, lag(m) over (partition by {partition} order by m.collected_at) as p
        from metric.{metric.name} m
        where m.target_id = of_target and m.collected_at > from_at - lookback and m.collected_at <= until_at
    ) as reading
    cross join lateral (select (reading.m).*) as m
    left join (
        select f.datid, f.collected_at,
            lag(f.collected_at) over (partition by f.datid order by f.collected_at) as since_at,
            max(f.collected_at) filter (where f.mode = 'full') over (
                partition by f.datid order by f.collected_at rows between unbounded preceding and 1 preceding
            ) as full_at
        from store.frame f
        where f.target_id = of_target and f.metric = '{metric.name}'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on {on}
    cross join lateral (
        select case
            when {f"{chr(10)}                and ".join(same)}
            then coalesce(least({lines(fell.split(", "), 16)}) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at{gone}
$$;
create view delta.{metric.name} as
    select d.*
    from store.target t
    cross join lateral delta.{metric.name}(t.target_id, '-infinity', 'infinity') as d;
"""  # noqa: S608 - the names are the catalogue's, and the author of a migration reads what comes out


def lines(parts: list[str], indent: int = 4) -> str:
    """These parts with commas between, in lines of some hundred characters."""
    done, line = [], ""
    for part in parts:
        if line and len(line) + len(part) > 100:
            done.append(line.rstrip())
            line = ""
        line += f"{part}, "
    return ("\n" + " " * indent).join([*done, line]).rstrip(", ")


def main() -> None:
    for name in sys.argv[1:] or CATALOGUE:
        metric = CATALOGUE[name]
        sys.stdout.write(f"-- {metric.help}\n{table(metric)}")
        if metric.counters:
            sys.stdout.write(delta(metric))
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
