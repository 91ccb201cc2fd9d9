"""Reads what of a stretch of time an agent's targets are covered for, and what the store knows of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from functions.query import answers
from functions.query.asked import AskedError
from functions.query.evidence import CLOSED_WITHIN, evidence, failed_runs, rows
from functions.query.stretches import Known, Stretch, clip, holes, reach, reasons, share
from functions.store import Connection, Store

WINDOW = timedelta(days=1)
MAX_WINDOW = timedelta(days=31)
EVERY_SECONDS = 60

_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)

_TARGETS: LiteralString = """
    select target_id, name, first_seen_at, last_seen_at from store.target where agent_id = %(agent)s order by name
"""

# A month has a million readings and few islands. The readings of one batch mostly lie within its minute: these are
# taken as one stretch, which spares the sorting of each.
_ISLANDS: LiteralString = """
    with batch as (
        select f.target_id, f.frame_at, b.from_at, b.to_at
        from store.frames f
        cross join lateral (
            select min(u.read_at) as from_at, max(u.read_at) as to_at from unnest(f.frame_at) as u (read_at)
        ) as b
        where f.target_id = any(%(targets)s)
            and f.collected_at >= %(first_at)s and f.collected_at <= %(last_batch_at)s
    ), part as (
        select target_id, from_at, to_at from batch where to_at - from_at <= %(reach)s
        union all
        select b.target_id, u.read_at, u.read_at
        from batch b
        cross join lateral unnest(b.frame_at) as u (read_at)
        where b.to_at - b.from_at > %(reach)s
    ), stepped as (
        select target_id, from_at, to_at, from_at - max(to_at) over (
            partition by target_id order by from_at, to_at rows between unbounded preceding and 1 preceding
        ) > %(reach)s as is_apart
        from part
    ), numbered as (
        select target_id, from_at, to_at, count(*) filter (where is_apart) over (
            partition by target_id order by from_at, to_at rows unbounded preceding
        ) as island
        from stepped
    )
    select target_id, min(from_at) as from_at, max(to_at) as to_at
    from numbered
    group by target_id, island
    order by target_id, from_at
"""


def ask(from_at: datetime | None, to_at: datetime | None, now: datetime) -> Stretch:
    """The stretch that is asked for, checked; the last day unless told otherwise.

    Raises:
        AskedError: naming the parameter and what is expected.
    """
    to_at = to_at or now
    if not all(_EARLIEST <= each <= _LATEST for each in (from_at, to_at) if each):
        raise AskedError("from, to: between the years 1971 and 9997")
    from_at = from_at or to_at - WINDOW
    if from_at >= to_at:
        raise AskedError("from: not before to")
    if to_at - from_at > MAX_WINDOW:
        raise AskedError(f"from, to: more than {MAX_WINDOW.days} days apart; ask for one stretch after another")
    return Stretch(from_at.astimezone(UTC), to_at.astimezone(UTC))


def coverage(
    store: Store, agent_id: str, within: Stretch, every_seconds: int, now: datetime
) -> answers.Coverage | None:
    """What each target of the agent is covered for; None if there is no such agent.

    Raises:
        StoreUnavailableError: try again later.
    """
    apart = reach(every_seconds)
    with store.transaction() as connection:
        targets = rows(connection, _TARGETS, {"agent": agent_id})
        if not targets and not rows(
            connection, "select from store.agent where agent_id = %(agent)s", {"agent": agent_id}
        ):
            return None
        covered = _covered(connection, [row["target_id"] for row in targets], within, apart)
        uncovered = {row["target_id"]: holes(within, covered[row["target_id"]]) for row in targets}
        failed = failed_runs(connection, uncovered)
        told = evidence(connection, agent_id, within, now)
    found = []
    for row in targets:
        target_id = row["target_id"]
        of_target = [*told.get(None, ()), *told.get(target_id, ()), *failed.get(target_id, ())]
        known = Known(row["first_seen_at"], row["last_seen_at"])
        found.append(
            answers.TargetCoverage(
                id=target_id,
                name=row["name"],
                covered_share=share(within, covered[target_id]),
                covered=[answers.Covered(**asdict(each)) for each in covered[target_id] if each.from_at < each.to_at],
                uncovered=[
                    answers.Uncovered(
                        **asdict(hole),
                        reasons=[
                            answers.Reason(**asdict(each)) for each in reasons(hole, of_target, known, within, apart)
                        ],
                    )
                    for hole in uncovered[target_id]
                ],
            )
        )
    return answers.Coverage(agent_id=agent_id, **asdict(within), reach_seconds=apart.total_seconds(), targets=found)


def _covered(
    connection: Connection, targets: Sequence[int], within: Stretch, apart: timedelta
) -> dict[int, list[Stretch]]:
    found = rows(
        connection,
        _ISLANDS,
        {
            "targets": list(targets),
            "first_at": within.from_at - apart,
            "last_batch_at": within.to_at + apart + CLOSED_WITHIN,
            "reach": apart,
        },
    )
    islands: dict[int, list[Stretch]] = {target: [] for target in targets}
    for row in found:
        islands[row["target_id"]].append(Stretch(row["from_at"], row["to_at"]))
    return {target: clip(within, found) for target, found in islands.items()}
