"""Queues again what is in the bucket and not in the store: what a lost notification or a lost queue left behind.

On AWS by schedule: `{}` looks at the last days, `{"days": 30}` at so many.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from aws_lambda_powertools import Logger
from botocore.config import Config
from pydantic import Field, TypeAdapter

from functions import sdk
from functions.environment import read
from functions.ingest import listing
from functions.ingest.bucket import Bucket, open_bucket
from functions.ingest.ledger import unknown
from functions.ingest.listing import Days
from functions.ingest.loader import notification
from functions.retention import RetentionEnvironment
from functions.store import Store, StoreEnvironment

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

logger = Logger(service="pganalytics")

#: An object younger than this is left to its own notification.
SETTLED = timedelta(minutes=5)

#: Days that the schedule looks at, today included.
RECONCILE_DAYS = 2

#: So many objects are looked up at a time.
_CHUNK = 1000

#: With so many messages waiting, the loader is behind and nothing shows that one is lost.
_BEHIND = 1000

#: Time that is kept for the end of an event, in milliseconds.
_RESERVE_MS = 30_000

_MESSAGES_A_REQUEST = 10


class QueueUnavailableError(Exception):
    """The queue did not take every message: try again later."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many objects were looked at and queued; not complete where time ran out."""

    checked: int = 0
    queued: int = 0
    complete: bool = True


def reconcile(
    bucket: Bucket,
    store: Store,
    send: Callable[[Sequence[str]], None],
    days: int,
    made_before: datetime | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Reconciled:
    """Queue the objects of the last `days` that neither the ledger nor the quarantine knows.

    Objects made since `made_before` are left alone. It begins at an agent by chance, so that each has its turn even
    where the time is too short for all.

    Raises:
        StoreUnavailableError, BucketUnavailableError: try again later; what was found until then is queued.
    """
    today = datetime.now(UTC).date()
    agent_ids = list(listing.agents(bucket))
    first = random.randrange(len(agent_ids)) if agent_ids else 0  # noqa: S311 - no secret depends on it
    found = listing.objects(bucket, agent_ids[first:] + agent_ids[:first], Days(today - timedelta(days=days - 1)))
    keys = (each.key for each in found if made_before is None or each.made_at < made_before)
    checked = queued = 0
    for chunk in _chunks(keys, _CHUNK):
        missing = unknown(store, chunk)
        if missing:
            send(missing)
        checked, queued = checked + len(chunk), queued + len(missing)
        if not may_go_on():
            return Reconciled(checked, queued, complete=False)
    return Reconciled(checked, queued)


def _chunks(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while chunk := list(islice(rest, size)):
        yield chunk


class ReconcileEnvironment(RetentionEnvironment, StoreEnvironment):
    bucket_url: str
    queue_url: str
    reconcile_days: int = Field(default=RECONCILE_DAYS, ge=1, le=3650)


@functools.cache
def _environment() -> ReconcileEnvironment:
    return read(ReconcileEnvironment)


@functools.cache
def _bucket() -> Bucket:
    return open_bucket(_environment().bucket_url)


@functools.cache
def _store() -> Store:
    return _environment().store("pganalytics reconcile")


class _Notifications:
    """The loader's queue, told of objects as the bucket tells it."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def waiting(self) -> int:
        found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def send(self, object_keys: Sequence[str]) -> None:
        for keys in _chunks(object_keys, _MESSAGES_A_REQUEST):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(index), "MessageBody": notification(key)} for index, key in enumerate(keys)
            ]
            refused = self._client.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", [])
            if refused:
                raise QueueUnavailableError(f"the queue refused {len(refused)} messages: {refused[0]['Code']}")


class _Timed(Protocol):
    """What Lambda tells of the time that an event has left."""

    def get_remaining_time_in_millis(self) -> int: ...


def handler(event: dict[str, Any], context: _Timed) -> dict[str, Any]:
    """Queue what was left behind, and say how much; nothing while the loader is behind with what is queued.

    What is older than any metric's retention is not looked for: nothing of it would be loaded.

    Raises:
        StoreUnavailableError, BucketUnavailableError, QueueUnavailableError: the schedule tries again.
    """
    environment = _environment()
    days = TypeAdapter[int](Annotated[int, Field(strict=True, ge=1, le=3650)]).validate_python(
        event.get("days", environment.reconcile_days)
    )
    patience = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
    queue = _Notifications(sdk.client("sqs", patience), environment.queue_url)
    waiting = queue.waiting()
    if waiting >= _BEHIND:
        logger.info("not reconciled: the loader is behind", extra={"waiting": waiting})
        return {"queued": 0, "checked": 0, "complete": False}
    done = reconcile(
        _bucket(),
        _store(),
        queue.send,
        min(days, environment.retention.longest + 1),
        datetime.now(UTC) - SETTLED,
        lambda: context.get_remaining_time_in_millis() > _RESERVE_MS,
    )
    logger.info("reconciled", extra=asdict(done))
    return asdict(done)
