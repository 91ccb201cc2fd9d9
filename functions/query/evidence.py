"""What the store knows of the time in which there are no readings: what was lost, left out, or failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import DictRow, dict_row

from contracts.objects import BatchKey, parse_key
from functions.query.stretches import Reason, Stretch
from functions.store import Connection

#: A batch is closed at most so long after its first reading.
CLOSED_WITHIN = timedelta(hours=1)

#: A hole in a stream is still on its way while what came after it was loaded less long ago.
_IN_FLIGHT = timedelta(hours=1)

_DAY = timedelta(days=1)
_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)

# A gap is told after it ended, by any batch since.
_GAPS: LiteralString = """
    select target_id, collector, reason, detail, from_at, until_at
    from store.gaps
    where agent_id = %(agent)s and collected_at >= %(from_at)s and until_at >= %(from_at)s and from_at < %(to_at)s
    order by from_at, until_at
"""

_STREAM_HOLES: LiteralString = """
    select stream_id, previous_seq, seq, previous_at, sent_at, loaded_at
    from (
        select stream_id, seq, sent_at, loaded_at,
            lag(seq) over (partition by stream_id order by seq) as previous_seq,
            lag(sent_at) over (partition by stream_id order by seq) as previous_at
        from store.ledger
        where agent_id = %(agent)s
    ) as l
    where seq > previous_seq + 1 and sent_at >= %(from_at)s and previous_at < %(to_at)s
    order by previous_at
"""

_QUARANTINE: LiteralString = """
    select object_key, reason from store.quarantine where agent_id = %(agent)s order by object_key
"""

# Of a batch that cannot be read, its neighbours in the stream say when it was closed.
_NEIGHBOURS: LiteralString = """
    select u.place,
        (select l.sent_at from store.ledger l
         where l.agent_id = %(agent)s and l.stream_id = u.stream_id and l.seq < u.seq
         order by l.seq desc limit 1) as from_at,
        (select l.sent_at from store.ledger l
         where l.agent_id = %(agent)s and l.stream_id = u.stream_id and l.seq > u.seq
         order by l.seq limit 1) as to_at
    from unnest(%(streams)s::uuid[], %(seqs)s::bigint[]) with ordinality as u (stream_id, seq, place)
    order by u.place
"""

_FAILED_RUNS: LiteralString = """
    select u.place, r.*
    from unnest(%(targets)s::bigint[], %(from)s::timestamptz[], %(to)s::timestamptz[])
        with ordinality as u (target_id, from_at, to_at, place)
    cross join lateral (
        select min(r.started_at) as from_at, max(r.started_at) as to_at,
            (array_agg(concat_ws(': ', r.collector, r.status, r.detail) order by r.started_at desc))[1] as detail
        from store.run r
        where r.target_id = u.target_id and r.sent_at >= u.from_at and r.sent_at <= u.to_at + %(closed_within)s
            and r.started_at >= u.from_at and r.started_at < u.to_at and r.status in ('error', 'timeout')
    ) as r
    where r.from_at is not null
"""


def failed_runs(connection: Connection, uncovered: Mapping[int, Sequence[Stretch]]) -> dict[int, list[Reason]]:
    """Of each of these stretches the runs in it that failed, by target."""
    asked = [(target, hole) for target, found in uncovered.items() for hole in found]
    failed = rows(
        connection,
        _FAILED_RUNS,
        {
            "targets": [target for target, _ in asked],
            "from": [hole.from_at for _, hole in asked],
            "to": [hole.to_at for _, hole in asked],
            "closed_within": CLOSED_WITHIN,
        },
    )
    found: dict[int, list[Reason]] = {}
    for row in failed:
        target = asked[row["place"] - 1][0]
        found.setdefault(target, []).append(Reason(row["from_at"], row["to_at"], "unreachable", row["detail"]))
    return found


def evidence(connection: Connection, agent_id: str, within: Stretch, now: datetime) -> dict[int | None, list[Reason]]:
    """What was lost or is not loaded, by target; None: of all targets."""
    parameters = {"agent": agent_id, **asdict(within)}
    found: dict[int | None, list[Reason]] = {None: []}
    for gap in rows(connection, _GAPS, parameters):
        what = ": ".join(each for each in (gap["reason"], gap["collector"], gap["detail"]) if each)
        found.setdefault(gap["target_id"], []).append(Reason(gap["from_at"], gap["until_at"], "gap", what))
    quarantined = _quarantined(rows(connection, _QUARANTINE, {"agent": agent_id}))
    told = tuple(found[None])
    for hole in rows(connection, _STREAM_HOLES, parameters):
        found[None] += _missing(hole, [key for key, _ in quarantined], told, now)
    found[None] += _quarantine_reasons(connection, agent_id, quarantined, within)
    return found


def _missing(hole: DictRow, quarantined: Iterable[BatchKey], gaps: Iterable[Reason], now: datetime) -> list[Reason]:
    """The batches that a stream lacks, but for those in quarantine and those that a gap has told of."""
    known = {
        key.seq
        for key in quarantined
        if key.stream_id == hole["stream_id"] and hole["previous_seq"] < key.seq < hole["seq"]
    }
    count = hole["seq"] - hole["previous_seq"] - 1 - len(known)
    if count <= 0 or any(gap.to_at >= hole["previous_at"] and gap.from_at <= hole["sent_at"] for gap in gaps):
        return []
    reason = "in_flight" if hole["loaded_at"] > now - _IN_FLIGHT else "missing"
    detail = (
        f"{count} of the batches after {hole['previous_seq']} and before {hole['seq']} of stream {hole['stream_id']}"
    )
    return [Reason(hole["previous_at"], hole["sent_at"], reason, detail)]


def _quarantined(aside: Iterable[DictRow]) -> list[tuple[BatchKey, str]]:
    found = []
    for row in aside:
        try:
            found.append((parse_key(row["object_key"]), row["reason"]))
        except ValueError:  # a name that says neither time nor place
            continue
    return found


def _quarantine_reasons(
    connection: Connection, agent_id: str, quarantined: Iterable[tuple[BatchKey, str]], within: Stretch
) -> list[Reason]:
    days = [(key, reason, _midnight(key.day)) for key, reason in quarantined]
    near = [
        (key, reason, midnight)
        for key, reason, midnight in days
        if midnight is not None and within.from_at - _DAY < midnight < within.to_at + CLOSED_WITHIN
    ]
    neighbours = rows(
        connection,
        _NEIGHBOURS,
        {
            "agent": agent_id,
            "streams": [key.stream_id for key, _, _ in near],
            "seqs": [key.seq for key, _, _ in near],
        },
    )
    found = []
    for (_, reason, midnight), row in zip(near, neighbours, strict=True):
        from_at = max(row["from_at"] or _EARLIEST, midnight - CLOSED_WITHIN)
        to_at = min(row["to_at"] or _LATEST, midnight + _DAY)
        found.append(Reason(from_at, max(from_at, to_at), "quarantined", reason))
    return found


def _midnight(day: str) -> datetime | None:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        return None


def rows(connection: Connection, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters).fetchall()
