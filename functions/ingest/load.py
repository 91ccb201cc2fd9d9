"""Loads a batch into the store, exactly once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from psycopg import DataError, IntegrityError
from psycopg.errors import CheckViolation

from contracts.batch import Batch, Frame, Gap, GapReason, Run
from contracts.names import target_id
from contracts.objects import BatchKey
from functions.ingest.copy import copy_frame
from functions.store import Connection, Store


class Loaded(StrEnum):
    """What became of a batch."""

    NEW = "new"
    ALREADY = "already"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of a batch is within the retention; `at` is where its runs, frames and gaps are placed in time."""

    at: int
    frames: Sequence[Frame]
    runs: Sequence[Run]
    gaps: Sequence[Gap]


class RefusedError(Exception):
    """The batch cannot be loaded through its own fault; the message says what."""


class CloneError(RefusedError):
    """Another batch stands at this place of the stream: two agents share one identity."""


def load(store: Store, batch: Batch, key: BatchKey, sha256: bytes, keep_days: int) -> Loaded:
    """Load the batch in one transaction; loading it again changes nothing.

    Frames older than `keep_days` are left out, and a gap says so; of a batch that was itself closed before, only gaps
    remain, placed on the oldest day that is kept: an agent cannot make the store grow days that maintenance drops.

    Raises:
        RefusedError: the batch is at fault; nothing of it was stored.
        StoreUnavailableError: try again later; nothing of it was stored.
    """
    kept = _within_retention(batch, keep_days)
    try:
        try:
            return _load(store, batch, key, sha256, kept)
        except CheckViolation:
            # Maintenance makes partitions days ahead: only what comes late, or into an empty store, gets here.
            _make_partitions(store, kept)
            return _load(store, batch, key, sha256, kept)
    except (DataError, IntegrityError) as error:
        raise RefusedError(f"the store refuses it: {error.diag.message_primary}") from error


def _load(store: Store, batch: Batch, key: BatchKey, sha256: bytes, kept: _Kept) -> Loaded:
    with store.transaction() as connection:
        if not _claim(connection, batch, key, sha256):
            return Loaded.ALREADY
        # One journey to the store for all that is not a COPY.
        with connection.pipeline():
            _see_agent(connection, batch)
            _insert_frames(connection, batch.agent_id, kept)
            _insert_runs(connection, batch.agent_id, kept)
            _insert_gaps(connection, batch.agent_id, kept)
        for frame in kept.frames:
            copy_frame(connection, batch.agent_id, frame)
    return Loaded.NEW


def quarantine(store: Store, object_key: str, agent_id: str | None, reason: str) -> None:
    """Record that an object cannot be loaded, and why. It stays in the bucket."""
    with store.transaction() as connection:
        connection.execute(
            """
            insert into store.quarantine (object_key, agent_id, reason) values (%s, %s, %s)
            on conflict (object_key) do update set reason = excluded.reason
            """,
            (object_key, agent_id, reason),
        )


def _within_retention(batch: Batch, keep_days: int) -> _Kept:
    oldest = (time.time_ns() // 1000) - keep_days * 86_400 * 1_000_000
    frames = [frame for frame in batch.frames if frame.collected_at >= oldest]
    runs = batch.runs if batch.sent_at >= oldest else ()
    gaps = list(batch.gaps)
    late = [frame.collected_at for frame in batch.frames if frame.collected_at < oldest]
    late += [run.started_at for run in batch.runs] if not runs else []
    if late:
        detail = (
            f"older than the {keep_days} days that the store keeps; frames among it: {len(batch.frames) - len(frames)}"
        )
        gaps.append(Gap(reason=GapReason.RETENTION, from_at=min(late), until_at=max(late), batches=1, detail=detail))
    return _Kept(max(batch.sent_at, oldest), frames, runs, gaps)


def _make_partitions(store: Store, kept: _Kept) -> None:
    # In a transaction of its own, so that no lock outlives the making.
    for day in sorted({_instant(at).date() for at in (kept.at, *(frame.collected_at for frame in kept.frames))}):
        with store.transaction() as connection:
            connection.execute("select store.make_partitions(%s)", (day,))


def _instant(at_us: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_us)


def _claim(connection: Connection, batch: Batch, key: BatchKey, sha256: bytes) -> bool:
    """Take the batch's place in the ledger; False if this very batch has it already."""
    place = (batch.agent_id, batch.stream_id, batch.seq)
    claimed = connection.execute(
        """
        insert into store.ledger (agent_id, stream_id, seq, sha256, sent_at, rows, object_key)
        values (%s, %s, %s, %s, %s, %s, %s)
        on conflict do nothing
        """,
        (*place, sha256, _instant(batch.sent_at), batch.rows, str(key)),
    )
    if claimed.rowcount:
        return True
    found = connection.execute(
        "select sha256 from store.ledger where (agent_id, stream_id, seq) = (%s, %s, %s)", place
    ).fetchone()
    if found is None or found[0] != sha256:
        raise CloneError(
            f"another batch stands at seq {batch.seq} of stream {batch.stream_id}: two agents share the identity "
            f"{batch.agent_id!r}; enrol one of them anew"
        )
    return False


def _see_agent(connection: Connection, batch: Batch) -> None:
    sent_at = _instant(batch.sent_at)
    config, clock = batch.config, batch.clock
    connection.execute(
        """
        insert into store.agent as a
        values (%(agent)s, %(at)s, %(at)s, %(version)s, %(config)s, %(etag)s, %(state)s, %(reason)s, %(skew)s)
        on conflict (agent_id) do update set
            (last_seen_at, agent_version, config_version, config_etag, config_state, config_reason, clock_skew_us)
            = (excluded.last_seen_at, excluded.agent_version, excluded.config_version, excluded.config_etag,
               excluded.config_state, excluded.config_reason, excluded.clock_skew_us)
        where a.last_seen_at <= excluded.last_seen_at
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
        },
    )
    names = sorted({frame.target for frame in batch.frames} | {run.target for run in batch.runs})
    connection.execute(
        """
        insert into store.target as t
        select target_id, %(agent)s, name, %(at)s, %(at)s
        from unnest(%(ids)s::bigint[], %(names)s::text[]) as u (target_id, name)
        order by name
        on conflict (agent_id, name) do update set last_seen_at = excluded.last_seen_at
        where t.last_seen_at < excluded.last_seen_at
        """,
        {
            "agent": batch.agent_id,
            "at": sent_at,
            "ids": [target_id(batch.agent_id, name) for name in names],
            "names": names,
        },
    )


def _insert_runs(connection: Connection, agent_id: str, kept: _Kept) -> None:
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
                _instant(kept.at),
                [run.collector for run in runs],
                [run.datid for run in runs],
                [_instant(run.started_at) for run in runs],
                [run.duration_us for run in runs],
                [str(run.status) for run in runs],
                [run.sqlstate for run in runs],
                [run.rows for run in runs],
                [run.rows_available for run in runs],
                [run.detail for run in runs],
            ),
        )


def _insert_frames(connection: Connection, agent_id: str, kept: _Kept) -> None:
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
                _instant(kept.at),
                [frame.metric for frame in of_target],
                [frame.datid for frame in of_target],
                [_instant(frame.collected_at) for frame in of_target],
                [str(frame.mode) for frame in of_target],
                [frame.epoch for frame in of_target],
                [frame.rows for frame in of_target],
            ),
        )


def _insert_gaps(connection: Connection, agent_id: str, kept: _Kept) -> None:
    for gap in kept.gaps:
        connection.execute(
            "insert into store.gaps values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                agent_id,
                target_id(agent_id, gap.target) if gap.target else None,
                _instant(kept.at),
                gap.collector,
                str(gap.reason),
                _instant(gap.from_at),
                _instant(gap.until_at),
                gap.batches,
                gap.detail,
            ),
        )
