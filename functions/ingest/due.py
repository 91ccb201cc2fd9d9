"""Which hours have to be rolled up: those of which something was loaded, noted in the transaction that loads it."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.batch import Frame
from contracts.names import target_id
from contracts.rollups import ROLLUPS
from functions.ingest.records import instant
from functions.store import Connection

_ROLLED_UP = frozenset(rollup.name for rollup in ROLLUPS)
_HOUR_US = 3_600_000_000


def note_hours(connection: Connection, frames: Iterable[tuple[str, Frame]]) -> None:
    """Note the hours of these frames, each of an agent, within the caller's transaction."""
    hours = {
        (target_id(agent_id, frame.target), frame.collected_at // _HOUR_US * _HOUR_US)
        for agent_id, frame in frames
        if frame.metric in _ROLLED_UP
    }
    if hours:
        connection.execute(
            "insert into store.rollup_due (target_id, hour) select * from unnest(%s::bigint[], %s::timestamptz[])",
            ([target for target, _ in hours], [instant(hour) for _, hour in hours]),
        )
