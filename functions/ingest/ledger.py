"""The ledger: each place of each agent's stream is taken once, which makes loading exactly-once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID

from psycopg.rows import TupleRow

from contracts.batch import Batch
from contracts.objects import BatchKey, parse_key
from functions.ingest.records import instant
from functions.store import Connection, Store

#: Agent, stream and seq.
_Place = tuple[str, UUID, int]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A batch, and how it lies in the bucket."""

    key: BatchKey
    sha256: bytes
    batch: Batch

    @property
    def place(self) -> _Place:
        return self.batch.agent_id, self.batch.stream_id, self.batch.seq


class Claim(Enum):
    """What the ledger says of a batch."""

    TAKEN = auto()  # its place is its own from now on
    HAD = auto()  # this very batch has had its place before
    CLONE = auto()  # another batch has it


def claim(connection: Connection, arrivals: Sequence[Arrival]) -> list[Claim]:
    """Take the places of these batches, in one statement within the caller's transaction; one answer for each."""
    taken = connection.execute(
        """
        insert into store.ledger (agent_id, stream_id, seq, sha256, sent_at, rows, object_key)
        select *
        from unnest(%s::text[], %s::uuid[], %s::bigint[], %s::bytea[], %s::timestamptz[], %s::bigint[], %s::text[])
            as arrived (agent_id, stream_id, seq, sha256, sent_at, rows, object_key)
        order by agent_id, stream_id, seq  -- two loaders that wait for one another wait in one order
        on conflict do nothing
        returning agent_id, stream_id, seq, sha256
        """,
        (
            [arrival.batch.agent_id for arrival in arrivals],
            [arrival.batch.stream_id for arrival in arrivals],
            [arrival.batch.seq for arrival in arrivals],
            [arrival.sha256 for arrival in arrivals],
            [instant(arrival.batch.sent_at) for arrival in arrivals],
            [arrival.batch.rows for arrival in arrivals],
            [str(arrival.key) for arrival in arrivals],
        ),
    ).fetchall()
    free = _by_place(taken)
    standing = dict(free)
    if others := [arrival for arrival in arrivals if arrival.place not in free]:
        standing |= _standing(connection, others)
    claims = []
    for arrival in arrivals:
        if standing.get(arrival.place) != arrival.sha256:
            claims.append(Claim.CLONE)
        elif free.pop(arrival.place, None) is not None:
            claims.append(Claim.TAKEN)
        else:
            claims.append(Claim.HAD)
    return claims


def _standing(connection: Connection, arrivals: Sequence[Arrival]) -> dict[_Place, bytes]:
    found = connection.execute(
        """
        select agent_id, stream_id, seq, sha256
        from store.ledger
        join unnest(%s::text[], %s::uuid[], %s::bigint[]) as arrived (agent_id, stream_id, seq)
            using (agent_id, stream_id, seq)
        """,
        [list(column) for column in zip(*(arrival.place for arrival in arrivals), strict=True)],
    )
    return _by_place(found)


def unknown(store: Store, object_keys: Sequence[str], *, quarantined: bool = True) -> list[str]:
    """Those of these objects that the ledger does not know, nor, unless told otherwise, the quarantine.

    Raises:
        StoreUnavailableError: try again later.
    """
    columns = [list(column) for column in zip(*map(_place, object_keys), strict=True)]
    with store.transaction() as connection:
        # The ledger is found by its primary key; a name that is no batch's can be in quarantine only.
        found = connection.execute(
            """
            select u.object_key
            from unnest(%s::text[], %s::text[], %s::uuid[], %s::bigint[]) as u (object_key, agent_id, stream_id, seq)
            where not exists (
                select from store.ledger l
                where (l.agent_id, l.stream_id, l.seq) = (u.agent_id, u.stream_id, u.seq)
                    and l.object_key = u.object_key
            )
            and not (%s and exists (select from store.quarantine q where q.object_key = u.object_key))
            """,
            (list(object_keys), *columns, quarantined),
        )
        return [key for (key,) in found]


def _place(object_key: str) -> tuple[str | None, str | None, int | None]:
    try:
        parsed = parse_key(object_key)
    except ValueError:
        return None, None, None
    return parsed.agent_id, str(parsed.stream_id), parsed.seq


def _by_place(rows: Iterable[TupleRow]) -> dict[_Place, bytes]:
    return {(agent_id, stream_id, seq): bytes(digest) for agent_id, stream_id, seq, digest in rows}
