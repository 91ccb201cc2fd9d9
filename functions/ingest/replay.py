"""Loads again what lies in the bucket: a stretch of time, some agents, the quarantine, or everything.

It is the loader's own way, so what the store has already is left as it is, and what is loaded into an empty store is
what was loaded before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import TypeVar

from psycopg.errors import UndefinedTable

from contracts.codec import BatchError, decode
from contracts.limits import MAX_COMPRESSED_BYTES
from contracts.objects import parse_key
from functions.ingest import listing
from functions.ingest.bucket import Bucket, BucketUnavailableError, ObjectMissingError
from functions.ingest.ledger import unknown
from functions.ingest.listing import Days, day_of_instant
from functions.ingest.load import Loaded
from functions.ingest.loader import Taken, taken
from functions.ingest.records import instant, within_retention
from functions.retention import Retention
from functions.store import Store, StoreUnavailableError

#: Objects between two summaries, after any of which one may stop.
_CHUNK = 100

#: Of what could not be loaded, so much is told by name.
_MAX_PROBLEMS = 20

T = TypeVar("T")


class SchemaMissingError(Exception):
    """The database has no store in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Batches closed from one instant to before another, of these agents; None or no agents: no bound."""

    from_at: datetime | None = None
    to_at: datetime | None = None
    agent_ids: tuple[str, ...] = ()

    @property
    def days(self) -> Days:
        last = self.to_at and day_of_instant(self.to_at - timedelta(microseconds=1))
        return Days(self.from_at and day_of_instant(self.from_at), last)

    @property
    def cut(self) -> frozenset[str]:
        """The days of which only a part is wanted."""
        bounds = [each for each in (self.from_at, self.to_at) if each is not None]
        return frozenset(day_of_instant(each).isoformat() for each in bounds if not _is_midnight(each))


def _is_midnight(at: datetime) -> bool:
    return at.astimezone(UTC).time() == time.min


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the objects so far; `problems` are the first that could not be loaded, and why.

    `beyond_retention` counts frames that were left out of batches that are loaded, `last` is the newest object.
    """

    objects: int = 0
    new: int = 0
    already: int = 0
    quarantined: int = 0
    failed: int = 0
    rows: int = 0
    beyond_retention: int = 0
    problems: tuple[tuple[str, str], ...] = ()
    last: str = ""

    @property
    def clean(self) -> bool:
        """Whether every object could be loaded."""
        return not self.quarantined and not self.failed

    def with_(self, each: Taken, retention: Retention) -> Summary:
        told = replace(self, objects=self.objects + 1, last=each.object_key)
        if each.outcome is Loaded.ALREADY:
            return replace(told, already=self.already + 1)
        if each.outcome is Loaded.NEW and each.batch is not None:
            kept = within_retention(each.batch, retention).frames
            return replace(
                told,
                new=self.new + 1,
                rows=self.rows + sum(frame.rows + frame.gone_rows for frame in kept),
                beyond_retention=self.beyond_retention + len(each.batch.frames) - len(kept),
            )
        problem = (each.object_key, str(each.outcome) or type(each.outcome).__name__)
        told = replace(told, problems=(*self.problems, problem)[:_MAX_PROBLEMS])
        if each.quarantined:
            return replace(told, quarantined=self.quarantined + 1)
        return replace(told, failed=self.failed + 1)


def check(store: Store) -> None:
    """See whether there is a store to load into.

    Raises:
        SchemaMissingError: the database has none.
        StoreUnavailableError: it cannot be reached.
    """
    try:
        with store.transaction() as connection:
            connection.execute("select from store.ledger limit 0")
    except UndefinedTable as error:
        raise SchemaMissingError("the database has no store's schema; make it by pganalytics migrate") from error


def find(bucket: Bucket, wanted: Wanted) -> Iterator[str]:
    """The keys of what is wanted, agent by agent and day by day.

    Raises:
        BucketUnavailableError: it cannot be listed or read.
    """
    return (key for key in _of_days(bucket, wanted) if _is_wanted(key, bucket, wanted))


def count(bucket: Bucket, wanted: Wanted) -> int:
    """How many objects there are to look at: those of whole days, of which `find` leaves out what is not wanted.

    It costs a listing more, and reads no object.

    Raises:
        BucketUnavailableError: it cannot be listed.
    """
    return sum(1 for _ in _of_days(bucket, wanted))


def _of_days(bucket: Bucket, wanted: Wanted) -> Iterator[str]:
    agent_ids = wanted.agent_ids or listing.agents(bucket)
    return (listed.key for listed in listing.objects(bucket, agent_ids, wanted.days))


def find_quarantined(bucket: Bucket, store: Store, wanted: Wanted) -> Iterator[str]:
    """The keys of what is wanted and in quarantine.

    Raises:
        BucketUnavailableError: it cannot be read.
        StoreUnavailableError: try again later.
    """
    after = ""
    while True:
        with store.transaction() as connection:
            found = connection.execute(
                """
                select object_key from store.quarantine
                where object_key > %s and (cardinality(%s::text[]) = 0 or agent_id = any(%s))
                order by object_key limit %s
                """,
                (after, list(wanted.agent_ids), list(wanted.agent_ids), _CHUNK),
            ).fetchall()
        if not found:
            return
        after = found[-1][0]
        yield from (key for (key,) in found if _is_wanted(key, bucket, wanted))


def count_quarantined(store: Store, wanted: Wanted) -> int:
    """How many of these agents' objects are in quarantine, at whatever time.

    Raises:
        StoreUnavailableError: try again later.
    """
    with store.transaction() as connection:
        found = connection.execute(
            "select count(*) from store.quarantine where cardinality(%s::text[]) = 0 or agent_id = any(%s)",
            (list(wanted.agent_ids), list(wanted.agent_ids)),
        ).fetchone()
    return int(found[0]) if found else 0


def _is_wanted(key: str, bucket: Bucket, wanted: Wanted) -> bool:
    try:
        day = parse_key(key).day
        if not wanted.days.has(datetime.fromisoformat(day).date()):
            return False
    except ValueError:  # a name that says no time, or a day that there is not
        return True
    if day not in wanted.cut:
        return True
    try:
        closed_at = instant(decode(bucket.read(key, MAX_COMPRESSED_BYTES)).sent_at)
    except (BatchError, ObjectMissingError):  # which is for the loader to say
        return True
    return (wanted.from_at is None or closed_at >= wanted.from_at) and (
        wanted.to_at is None or closed_at < wanted.to_at
    )


def replay(keys: Iterable[str], bucket: Bucket, store: Store, retention: Retention) -> Iterator[Summary]:
    """Load these objects, and tell after some of them what became of all so far.

    It ends early where the store or the bucket is away for all of a chunk.
    """
    summary = Summary()
    for chunk in _chunks(keys):
        away = True
        for each in taken(chunk, bucket, store, retention):
            summary = summary.with_(each, retention)
            away = away and isinstance(each.outcome, BucketUnavailableError | StoreUnavailableError)
        yield summary
        if away:
            return


def rehearse(keys: Iterable[str], store: Store) -> Iterator[Summary]:
    """What a replay of these objects would do, as far as the store can say: `new` is what it does not know."""
    summary = Summary()
    for chunk in _chunks(keys):
        new = set(unknown(store, chunk, quarantined=False))
        summary = replace(
            summary,
            objects=summary.objects + len(chunk),
            new=summary.new + len(new),
            already=summary.already + len(chunk) - len(new),
            last=chunk[-1],
        )
        yield summary


def _chunks(items: Iterable[T]) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
