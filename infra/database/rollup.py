"""Prints the plain SQL of rollups, drafted from their declaration, for the author of a migration to paste.

Usage: python -m infra.database.rollup [METRIC...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from contracts.metrics import Scope
from contracts.rollups import LOOKBACK_HOURS, ROLLUPS, Rollup
from infra.database.draft import lines

_WITHIN = "m.target_id = of_target and m.collected_at >= {} and m.collected_at < of_hour + interval '1 hour'"
_HOUR, _BACK = "of_hour", f"of_hour - interval '{LOOKBACK_HOURS} hours'"


def rollup(of: Rollup) -> str:
    """The table, partitioned by month, with its one index, and the function that makes one hour of one target anew."""
    required = ("target_id", "hour")
    columns = ",\n".join(f"    {name} {type_}{' not null' * (name in required)}" for name, type_ in of.stored)
    made = ["of_target", "of_hour", *of.key, *of.counters]
    if of.counters:
        made += ["readings", "coalesce(covered_us, 0)", "coalesce(resets, 0)", "unknown", "falls"]
    made += [name for name, _ in of.stored[len(made) :]]
    ends = "\n        ".join(_joined(of))
    return f"""create table rollup.{of.name} (
{columns}
) partition by range (hour);
create index on rollup.{of.name} (target_id, hour);
create function rollup.make_{of.name}(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.{of.name} where target_id = of_target and hour = of_hour;
    with {", ".join(_parts(of))}, made as (
        insert into rollup.{of.name}
        select
            {lines(made, 12)}
        {ends}
        returning 1
    )
    select count(*) from made
$$;
"""  # noqa: S608 - the names are the catalogue's, and the author of a migration reads what comes out


def _parts(of: Rollup) -> Iterator[str]:
    if of.counters or of.metric.changes:
        yield _frame(of)
    if of.counters:
        yield _cover()
        yield _difference(of)
    if of.by:
        yield from _summed(of)
    elif of.gauges:
        yield _value(of)


def _joined(of: Rollup) -> Iterator[str]:
    if of.counters and of.gauges:
        yield f"from difference join value using ({', '.join(['target_id', *of.key])})"
    else:
        yield "from difference" if of.counters else "from value"
    if of.counters and of.metric.scope is Scope.DATABASE:
        yield "left join (select datid, covered_us, resets from cover) as cover using (datid)"
    elif of.counters:
        yield "left join (select covered_us, resets from cover) as cover on true"


def _frame(of: Rollup) -> str:
    # n counts the readings; full_n is the next that had every row, and so ends those that it has not.
    return f"""frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = '{of.name}'
                and f.batch_at >= {_BACK} and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= {_BACK} and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    )"""  # noqa: S608 - the names are the catalogue's, and the author of a migration reads what comes out


def _cover() -> str:
    return """cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    )"""


def _difference(of: Rollup) -> str:
    # The hour's first instant is its own, the next one's is not; delta leaves out the one, and takes the other.
    by = ["d.target_id", *(f"d.{name}" for name in of.key)]
    none = ", ".join(f"d.{name}" for name in of.counters)
    columns = [*by, *(f"sum(d.{name})::bigint as {name}" for name in of.counters), "count(*) as readings"]
    columns += ["count(*) filter (where d.fell) as falls"]
    return f"""difference as (
        select
            {lines(columns, 12)},
            count(*) filter (where not d.fell and num_nonnulls(
                {lines(none.split(", "), 16)}
            ) = 0) as unknown
        from delta.{of.name}(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by {", ".join(by)}
    )"""  # noqa: S608


def _value(of: Rollup) -> str:
    by = ["m.target_id", *(f"m.{name}" for name in of.key)]
    weighed = of.metric.changes
    same = " and f.datid = m.datid" if of.metric.scope is Scope.DATABASE else ""
    columns = list(by)
    for name in of.gauges:
        average = (
            f"sum(m.{name}::float8 * m.times) / sum(m.times) filter (where m.{name} is not null)"
            if weighed
            else f"avg(m.{name})::float8"
        )
        columns += [
            f"{average} as {name}_avg",
            f"min(m.{name}) as {name}_min",
            f"max(m.{name}) as {name}_max",
            f"(array_agg(m.{name} order by m.collected_at desc))[1] as {name}_last",
        ]
    columns.append("sum(m.times)::bigint as samples" if weighed else "count(*) as samples")
    if not weighed:
        ends = f"from metric.{of.name} m\n        where {_WITHIN.format(_HOUR)}\n        group by {', '.join(by)}"
    else:
        ends = f"""from (
            -- A row stands, unread, for the readings until the next row of its key, or the next reading of every row.
            select m.*, least(lead(f.n) over (partition by {", ".join(by)} order by f.n), f.full_n, f.last_n + 1)
                - greatest(f.n, f.first_n) as times
            from metric.{of.name} m
            join frame f on f.collected_at = m.collected_at{same}
            where {_WITHIN.format(_BACK)}
        ) as m
        where m.times > 0 and not m.gone
        group by {", ".join(by)}
        having max(m.collected_at) >= of_hour"""  # noqa: S608
    return f"""value as (
        select
            {lines(columns, 12)}
        {ends}
    )"""


def _summed(of: Rollup) -> Iterator[str]:
    by = ", ".join(of.by)
    sums = ", ".join(f"sum(m.{name})::bigint as {name}" for name in of.gauges)
    columns = [f"k.{name}" for name in of.by]
    for name in of.gauges:
        number = f"coalesce(s.{name}, 0)"
        columns += [
            f"avg({number})::float8 as {name}_avg",
            f"min({number}) as {name}_min",
            f"max({number}) as {name}_max",
            f"(array_agg({number} order by r.collected_at desc))[1] as {name}_last",
        ]
    same = " and ".join(f"s.{name} is not distinct from k.{name}" for name in of.by)
    yield f"""reading as (
        select distinct f.collected_at
        from store.frame f
        where f.target_id = of_target and f.metric = '{of.name}'
            and f.batch_at >= of_hour and f.batch_at < of_hour + interval '2 hours'
            and f.collected_at >= of_hour and f.collected_at < of_hour + interval '1 hour'
    )"""  # noqa: S608
    yield f"""summed as (
        select m.collected_at, {by}, {sums}
        from metric.{of.name} m
        where {_WITHIN.format(_HOUR)}
        group by m.collected_at, {by}
    )"""  # noqa: S608
    yield f"""value as (
        select
            {lines([*columns, "count(*) as samples"], 12)}
        from (select distinct {by} from summed) as k
        cross join reading r
        left join summed s on s.collected_at = r.collected_at and {same}
        group by {", ".join(f"k.{name}" for name in of.by)}
    )"""  # noqa: S608


def main() -> None:
    for of in ROLLUPS:
        if of.name in (sys.argv[1:] or [of.name]):
            sys.stdout.write(f"{rollup(of)}\n")


if __name__ == "__main__":
    main()
