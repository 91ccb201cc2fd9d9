"""What the store keeps of a batch beside its facts: the agent, its targets, and what ran, arrived and was lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.batch import Batch, Frame, Gap, GapReason, Run
from contracts.limits import BIGINT_MIN
from contracts.names import target_id
from functions.retention import Retention
from functions.store import Connection


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a batch is within the retention; `at` is where its runs and gaps are placed in time, `frames_at` where
    its frames are.
    """

    at: int
    frames_at: int
    frames: Sequence[Frame]
    runs: Sequence[Run]
    gaps: Sequence[Gap]


def within_retention(batch: Batch, retention: Retention) -> Kept:
    now = time.time_ns() // 1000
    oldest = _oldest(now, retention.keep_days)
    frames = [frame for frame in batch.frames if frame.collected_at >= _oldest(now, retention.of(frame.metric))]
    left_out = [frame for frame in batch.frames if frame.collected_at < _oldest(now, retention.of(frame.metric))]
    runs = batch.runs if batch.sent_at >= oldest else ()
    gaps = list(batch.gaps)
    late = [frame.collected_at for frame in left_out]
    late += [run.started_at for run in batch.runs] if not runs else []
    if late:
        gaps.append(
            Gap(
                reason=GapReason.RETENTION,
                from_at=min(late),
                until_at=max(late),
                batches=1,
                detail=_detail({frame.metric for frame in left_out}, len(left_out), retention),
            )
        )
    at, frames_at = (max(batch.sent_at, _oldest(now, days)) for days in (retention.keep_days, retention.longest))
    return Kept(at, frames_at, frames, runs, gaps)


def _oldest(now_us: int, days: int) -> int:
    return now_us - days * 86_400 * 1_000_000


def _detail(metrics: Iterable[str], frames: int, retention: Retention) -> str:
    others = [f"; of {name}, {retention.of(name)}" for name in sorted(metrics) if name in retention.by_metric]
    text = f"older than the {retention.keep_days} days that the store keeps; frames among it: {frames}{''.join(others)}"
    return text[:1000]  # what a gap's detail may have


def instant(at_us: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_us)


def see_agent(connection: Connection, batch: Batch) -> None:
    """Record what the batch says of its agent and targets: the same in the end, whatever order batches come in."""
    sent_at = instant(batch.sent_at)
    config, clock = batch.config, batch.clock
    connection.execute(
        """
        insert into store.agent as a
        values (%(agent)s, %(at)s, %(at)s, %(version)s, %(config)s, %(etag)s, %(state)s, %(reason)s, %(skew)s)
        on conflict (agent_id) do update set
            (last_seen_at, agent_version, config_version, config_etag, config_state, config_reason, clock_skew_us)
            = (excluded.last_seen_at, excluded.agent_version, excluded.config_version, excluded.config_etag,
               excluded.config_state, excluded.config_reason, excluded.clock_skew_us)
        where (a.last_seen_at, a.config_version, a.config_state, a.agent_version, coalesce(a.config_etag, ''),
               coalesce(a.config_reason, ''), coalesce(a.clock_skew_us, %(unknown)s))
            < (excluded.last_seen_at, excluded.config_version, excluded.config_state, excluded.agent_version,
               coalesce(excluded.config_etag, ''), coalesce(excluded.config_reason, ''),
               coalesce(excluded.clock_skew_us, %(unknown)s))
        """,
        {
            "agent": batch.agent_id,
            "at": sent_at,
            "version": batch.agent_version,
            "config": config.version,
            "etag": config.etag,
            "state": config.state,
            "reason": config.reason,
            "skew": clock.skew_us,
            "unknown": BIGINT_MIN,
        },
    )
    connection.execute(
        "update store.agent set first_seen_at = %(at)s where agent_id = %(agent)s and first_seen_at > %(at)s",
        {"agent": batch.agent_id, "at": sent_at},
    )
    names = sorted({frame.target for frame in batch.frames} | {run.target for run in batch.runs})
    connection.execute(
        """
        insert into store.target as t
        select target_id, %(agent)s, name, %(at)s, %(at)s
        from unnest(%(ids)s::bigint[], %(names)s::text[]) as u (target_id, name)
        order by name
        on conflict (agent_id, name) do update set
            first_seen_at = least(t.first_seen_at, excluded.first_seen_at),
            last_seen_at = greatest(t.last_seen_at, excluded.last_seen_at)
        where t.first_seen_at > excluded.first_seen_at or t.last_seen_at < excluded.last_seen_at
        """,
        {
            "agent": batch.agent_id,
            "at": sent_at,
            "ids": [target_id(batch.agent_id, name) for name in names],
            "names": names,
        },
    )


def insert_runs(connection: Connection, agent_id: str, kept: Kept) -> None:
    for target in sorted({run.target for run in kept.runs}):
        runs = [run for run in kept.runs if run.target == target]
        connection.execute(
            """
            insert into store.runs values (
                %s, %s, %s::text[], %s::oid[], %s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::bigint[],
                %s::bigint[], %s::text[]
            )
            """,
            (
                target_id(agent_id, target),
                instant(kept.at),
                [run.collector for run in runs],
                [run.datid for run in runs],
                [instant(run.started_at) for run in runs],
                [run.duration_us for run in runs],
                [str(run.status) for run in runs],
                [run.sqlstate for run in runs],
                [run.rows for run in runs],
                [run.rows_available for run in runs],
                [run.detail for run in runs],
            ),
        )


def insert_frames(connection: Connection, agent_id: str, kept: Kept) -> None:
    for target in sorted({frame.target for frame in kept.frames}):
        of_target = [frame for frame in kept.frames if frame.target == target]
        connection.execute(
            """
            insert into store.frames values (
                %s, %s, %s::text[], %s::oid[], %s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[]
            )
            """,
            (
                target_id(agent_id, target),
                instant(kept.frames_at),
                [frame.metric for frame in of_target],
                [frame.datid for frame in of_target],
                [instant(frame.collected_at) for frame in of_target],
                [str(frame.mode) for frame in of_target],
                [frame.epoch for frame in of_target],
                [frame.rows for frame in of_target],
            ),
        )


def insert_gaps(connection: Connection, agent_id: str, kept: Kept) -> None:
    for gap in kept.gaps:
        connection.execute(
            "insert into store.gaps values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                agent_id,
                target_id(agent_id, gap.target) if gap.target else None,
                instant(kept.at),
                gap.collector,
                str(gap.reason),
                instant(gap.from_at),
                instant(gap.until_at),
                gap.batches,
                gap.detail,
            ),
        )
