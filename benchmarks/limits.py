"""With how many hosts each limit is met: the module's defaults, AWS's quotas, one PostgreSQL; and what to do there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.costs import stored
from benchmarks.measured import Measured
from benchmarks.work import Assumptions, Module, Work, replayed_ms

#: AWS's quotas of an account and region, which it raises, and what S3 takes of one prefix before it splits it: as its
#: documentation has them, of which the copies that were looked up bear no date.
API_REQUESTS, LAMBDA_CONCURRENCY, S3_PUTS = 10_000, 1000, 3500

#: Of Aurora PostgreSQL: its volume, and the sessions that the largest writer takes.
VOLUME_BYTES, SESSIONS = 128 * 2**40, 5000

#: Of one run of the rollups every five minutes (functions/maintenance/rollup.py), and of any function.
_HOURS_A_RUN, _RUNS_AN_HOUR, _LAMBDA_SECONDS = 5000, 12, 900

DEFAULT, QUOTA, STORE = "default", "quota", "store"


@dataclass(frozen=True)
class Limit:
    """Met by this many hosts; a default is a variable of the module, a quota AWS raises when asked."""

    name: str
    kind: str
    hosts: float
    then: str


def limits(m: Measured, of: Work, a: Assumptions, module: Module) -> list[Limit]:
    """All of them, the first that is met first."""
    return sorted(_limits(m, of, a, module), key=lambda limit: limit.hosts)


def _limits(m: Measured, of: Work, a: Assumptions, module: Module) -> Iterator[Limit]:
    default = module.defaults
    # Of an hour of a host. Not on the clock: here others had the processors, too.
    rollup = (m.rollup.own_ms + m.rollup.store_ms) / a.core / 1000 + m.targets * a.commit_ms / 1000
    loaders = default["loader_concurrency"]
    yield Limit(
        f"loader_concurrency = {loaders:.0f}",
        DEFAULT,
        loaders * 3600 / (60 * replayed_ms(m, a) / 1000),
        "raise it: each loader is one session of the store",
    )
    yield Limit(
        f"requests_per_second = {default['requests_per_second']:.0f}",
        DEFAULT,
        default["requests_per_second"] * 3600 / of.requests,
        "raise it, or upload and pull less often; transport s3",
    )
    yield Limit(
        f"rollup_seconds = {default['rollup_seconds']:.0f} of 300",
        DEFAULT,
        default["rollup_seconds"] * _RUNS_AN_HOUR / rollup,
        "raise it: 290 at most, as the next run begins after 300",
    )
    for function in ("config", "identity"):
        runs = default[f"concurrency.{function}"]
        yield Limit(
            f"concurrency.{function} = {runs:.0f}",
            DEFAULT,
            runs * 3600 / of.seconds[function],
            "raise it, with the store's connections (output store_connections)",
        )
    yield Limit(
        f"database.max_capacity = {default['database.max_capacity']:.0f} ACU, at {a.store_used:.0%} of its processors",
        DEFAULT,
        default["database.max_capacity"] / a.acu_a_vcpu * a.store_used * 3600 / of.store_seconds,
        "raise it, up to 256",
    )
    yield Limit(
        "one run of the rollups at a time, all of the time",
        STORE,
        3600 / rollup,
        "more stores, each with a part of the targets",
    )
    yield Limit(
        f"{_HOURS_A_RUN:,} target-hours of a run of the rollups",
        STORE,
        _HOURS_A_RUN * _RUNS_AN_HOUR / m.targets,
        "more stores, each with a part of the targets",
    )
    yield Limit(
        f"a writer of {a.most_acu:.0f} ACU, at {a.store_used:.0%} of its processors",
        STORE,
        a.most_acu / a.acu_a_vcpu * a.store_used * 3600 / of.store_seconds,
        "distribute by target_id: Citus, Aurora Limitless; or more stores",
    )
    kept = stored(of, module)
    yield Limit(
        "Aurora's volume of 128 TiB",
        STORE,
        VOLUME_BYTES / kept.store,
        "store_keep_days, store_keep_days_by_metric, rollup_keep_days; or more stores",
    )
    yield Limit(
        f"{SESSIONS:,} sessions of the store",
        STORE,
        SESSIONS / of.connections,
        "a proxy before it (RDS Proxy), or more stores",
    )
    yield Limit(
        "the reconciler's look at all hosts in one run",
        STORE,
        _LAMBDA_SECONDS / of.seconds["reconcile"],
        "each run begins at another host by chance; from ten times as many on, raise reconcile_days",
    )
    yield Limit(
        "API Gateway: 10,000 requests a second",
        QUOTA,
        API_REQUESTS * 3600 / of.requests,
        "ask AWS for more, or another account or region",
    )
    yield Limit(
        "Lambda: 1,000 at a time",
        QUOTA,
        LAMBDA_CONCURRENCY * 3600 / sum(of.seconds.values()),
        "ask AWS for more",
    )
    yield Limit(
        "S3: 3,500 PUT a second of one prefix",
        QUOTA,
        S3_PUTS * 3600 / of.puts,
        "nothing: S3 splits batches/v1/ by agent as it grows; a bucket for each region",
    )
