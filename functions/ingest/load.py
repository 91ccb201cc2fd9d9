"""Loads batches into the store, each exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from enum import StrEnum

import psycopg
from psycopg.errors import CheckViolation

from contracts.batch import Batch, Frame
from contracts.metrics import CATALOGUE, Metric
from contracts.objects import BatchKey, parse_key
from functions.ingest.copy import copy_frames
from functions.ingest.due import note_hours
from functions.ingest.ledger import Arrival, Claim, claim
from functions.ingest.records import (
    Kept,
    insert_frames,
    insert_gaps,
    insert_runs,
    instant,
    see_agent,
    within_retention,
)
from functions.retention import Retention
from functions.store import Connection, Store, StoreUnavailableError

#: The longest key that S3 has.
MAX_KEY_BYTES = 1024


class Loaded(StrEnum):
    """What became of a batch."""

    NEW = "new"
    ALREADY = "already"


class RefusedError(Exception):
    """The batch cannot be loaded through its own fault; the message says what."""


class CloneError(RefusedError):
    """Another batch stands at this place of the stream: two agents share one identity."""


#: What became of a batch, or why it could not be loaded: RefusedError is its own fault, all else is to be tried again.
Outcome = Loaded | Exception


def load(store: Store, arrivals: Sequence[Arrival], retention: Retention) -> list[Outcome]:
    """Load these batches in one transaction, one COPY a metric; loading them again changes nothing.

    Where that fails each is loaded in a transaction of its own, so that one at fault costs no other.

    Frames older than their metric's retention are left out, and a gap says so; of a batch that was itself closed
    before, only gaps remain, placed on the oldest day that is kept: an agent cannot make the store grow days that
    maintenance drops.
    """
    try:
        return _load(store, arrivals, retention)
    except Exception as error:  # noqa: BLE001 - whatever it is, it may be one batch's
        if len(arrivals) == 1:
            return [_translated(error)]
    outcomes: list[Outcome] = []
    for arrival in arrivals:
        if [type(outcome) for outcome in outcomes[-2:]] == [StoreUnavailableError] * 2:
            outcomes.append(outcomes[-1])  # it is the store's fault, and asking it may take each time a deadline
        else:
            outcomes += load(store, [arrival], retention)
    return outcomes


def _translated(error: Exception) -> Exception:
    if isinstance(error, CheckViolation) and error.diag.constraint_name is None:
        return error  # no partition: made, and dropped again before the copy
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        refused = RefusedError(f"the store refuses it: {error.diag.message_primary}")
        refused.__cause__ = error
        return refused
    return error


def _load(store: Store, arrivals: Sequence[Arrival], retention: Retention) -> list[Outcome]:
    kept = [within_retention(arrival.batch, retention) for arrival in arrivals]
    try:
        return _claim_and_copy(store, arrivals, kept)
    except CheckViolation:
        # Maintenance makes partitions days ahead: only what comes late, or into an empty store, gets here.
        _make_partitions(store, kept)
        return _claim_and_copy(store, arrivals, kept)


def _claim_and_copy(store: Store, arrivals: Sequence[Arrival], kept: Sequence[Kept]) -> list[Outcome]:
    with store.transaction() as connection:
        claims = claim(connection, arrivals)
        taken = [
            (arrival.batch, of)
            for arrival, of, claimed in zip(arrivals, kept, claims, strict=True)
            if claimed is Claim.TAKEN
        ]
        # One journey to the store for all that is not a COPY; in one order, lest two loaders wait for one another.
        with connection.pipeline():
            for batch, of in sorted(taken, key=lambda each: (each[0].agent_id, each[0].sent_at)):
                see_agent(connection, batch)
                insert_frames(connection, batch.agent_id, of)
                insert_runs(connection, batch.agent_id, of)
                insert_gaps(connection, batch.agent_id, of)
            _leave_quarantine(connection, arrivals, claims)
            note_hours(connection, ((batch.agent_id, frame) for batch, of in taken for frame in of.frames))
        for metric, frames in _by_metric(taken):
            copy_frames(connection, metric, frames)
    return [_outcome(arrival, claimed) for arrival, claimed in zip(arrivals, claims, strict=True)]


def _leave_quarantine(connection: Connection, arrivals: Sequence[Arrival], claims: Sequence[Claim]) -> None:
    keys = [str(arrival.key) for arrival, of in zip(arrivals, claims, strict=True) if of is not Claim.CLONE]
    connection.execute("delete from store.quarantine where object_key = any(%s)", (keys,))


def _by_metric(taken: Sequence[tuple[Batch, Kept]]) -> Iterator[tuple[Metric, list[tuple[str, Frame]]]]:
    frames: dict[str, list[tuple[str, Frame]]] = {}
    for batch, of in taken:
        for frame in of.frames:
            frames.setdefault(frame.metric, []).append((batch.agent_id, frame))
    for name, of_metric in frames.items():
        yield CATALOGUE[name], of_metric


def _outcome(arrival: Arrival, claimed: Claim) -> Outcome:
    match claimed:
        case Claim.TAKEN:
            return Loaded.NEW
        case Claim.HAD:
            return Loaded.ALREADY
    batch = arrival.batch
    return CloneError(
        f"another batch stands at seq {batch.seq} of stream {batch.stream_id}: two agents share the identity "
        f"{batch.agent_id!r}; enrol one of them anew"
    )


def _make_partitions(store: Store, kept: Sequence[Kept]) -> None:
    # Of each day those tables that need it, for others' may have been dropped; in a transaction of its own, so that no
    # lock outlives the making.
    tables: dict[date, set[str]] = {}
    for of in kept:
        tables.setdefault(instant(of.at).date(), set()).update(("store.runs", "store.gaps"))
        tables.setdefault(instant(of.frames_at).date(), set()).add("store.frames")
        for frame in of.frames:
            tables.setdefault(instant(frame.collected_at).date(), set()).add(f"metric.{frame.metric}")
    for day, of_tables in sorted(tables.items()):
        with store.transaction() as connection:
            connection.execute("select store.make_partitions(%s, %s)", (day, sorted(of_tables)))


def quarantine(store: Store, object_key: str, agent_id: str | None, reason: str) -> None:
    """Record that an object cannot be loaded, why, and which place its key names. It stays in the bucket.

    The place stays free: the key is all that speaks for it, and the genuine batch may be still to come.
    """
    place = _named(object_key)
    with store.transaction() as connection:
        connection.execute(
            """
            insert into store.quarantine (object_key, agent_id, stream_id, seq, sha256_start, reason)
            values (%s, %s, %s, %s, %s, %s)
            on conflict (object_key) do update set reason = excluded.reason
            """,
            (
                _storable(object_key),
                agent_id,
                place.stream_id if place else None,
                place.seq if place else None,
                place.sha256_start if place else None,
                reason,
            ),
        )


def _named(object_key: str) -> BatchKey | None:
    try:
        return parse_key(object_key)
    except ValueError:
        return None


def _storable(object_key: str) -> str:
    # A notification may name anything: what PostgreSQL has no text for, or no room in an index, would fail for ever.
    text = object_key.replace("\x00", "\\x00").encode("utf-8", "backslashreplace")
    return text[:MAX_KEY_BYTES].decode("utf-8", "ignore")
