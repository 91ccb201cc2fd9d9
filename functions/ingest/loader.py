"""The loader: takes notifications of new objects from the queue, and loads each batch.

A batch at fault goes to quarantine and is done with; one that failed through the store's or the bucket's fault is
answered as a failure of its own message, so that the queue gives it again and its neighbours are not held up.
"""

from __future__ import annotations

import functools
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from aws_lambda_powertools import Logger

from contracts.batch import Batch
from contracts.codec import BatchError, decode, sha256
from contracts.limits import MAX_COMPRESSED_BYTES
from contracts.objects import PREFIX, key_of, parse_key
from functions.environment import read
from functions.ingest.bucket import Bucket, open_bucket
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, Outcome, RefusedError, load, quarantine
from functions.retention import Retention, RetentionEnvironment
from functions.store import Store, StoreEnvironment

logger = Logger(service="pganalytics")

#: So many rows are loaded in one transaction, or what one event brings if that is less.
_ENOUGH_ROWS = 100_000

#: So many objects are read at a time: S3 takes far longer to answer than what it answers takes to load.
READ_AHEAD = 8


class LoaderEnvironment(RetentionEnvironment, StoreEnvironment):
    bucket_url: str


@functools.cache
def _environment() -> LoaderEnvironment:
    return read(LoaderEnvironment)


@functools.cache
def _bucket() -> Bucket:
    return open_bucket(_environment().bucket_url)


@functools.cache
def _store() -> Store:
    return _environment().store("pganalytics ingest")


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one object: its outcome, and the batch in it if that could be read.

    RefusedError is the object's own fault, which has its row in the quarantine; every other exception is to be tried
    again.
    """

    object_key: str
    outcome: Outcome
    batch: Batch | None = None

    @property
    def quarantined(self) -> bool:
        return isinstance(self.outcome, RefusedError)

    @property
    def failed(self) -> bool:
        return isinstance(self.outcome, Exception) and not self.quarantined


def take(object_keys: Iterable[str], bucket: Bucket, store: Store, retention: Retention) -> dict[str, Exception]:
    """Load these objects, or put them into quarantine. What is answered is to be tried again, and why."""
    failed: dict[str, Exception] = {}
    for each in taken(object_keys, bucket, store, retention):
        if isinstance(each.outcome, Loaded):
            rows = each.batch.rows if each.batch else 0
            logger.info("loaded", extra={"object_key": each.object_key, "rows": rows, "outcome": str(each.outcome)})
        elif each.quarantined:
            logger.error("quarantined", extra={"object_key": each.object_key, "reason": str(each.outcome)})
        else:
            failed[each.object_key] = each.outcome
    return failed


def taken(object_keys: Iterable[str], bucket: Bucket, store: Store, retention: Retention) -> Iterator[Taken]:
    """Load these objects, or put them into quarantine, and tell of each; some are loaded in one transaction."""
    waiting: dict[str, Arrival] = {}

    def load_waiting() -> Iterator[Taken]:
        for object_key, outcome in zip(waiting, load(store, list(waiting.values()), retention), strict=True):
            yield _aside(store, Taken(object_key, outcome, waiting[object_key].batch))
        waiting.clear()

    for object_key, reading in _read(dict.fromkeys(object_keys), bucket):
        try:
            waiting[object_key] = _arrived(object_key, reading.result())
        except (BatchError, RefusedError, ValueError) as error:
            yield _aside(store, Taken(object_key, _refusal(error)))
        except Exception as error:  # noqa: BLE001 - the bucket's fault, say: it costs this object's turn only
            yield Taken(object_key, error)
        if sum(arrival.batch.rows for arrival in waiting.values()) >= _ENOUGH_ROWS:
            yield from load_waiting()
    if waiting:
        yield from load_waiting()


def _read(object_keys: Iterable[str], bucket: Bucket) -> Iterator[tuple[str, Future[bytes]]]:
    """These objects in their order, each with what is in it; the next are read while one is loaded."""

    def read_one(object_key: str) -> bytes:
        parse_key(object_key)  # what is no batch's is not asked for
        return bucket.read(object_key, MAX_COMPRESSED_BYTES)

    ahead: deque[tuple[str, Future[bytes]]] = deque()
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        for object_key in object_keys:
            ahead.append((object_key, pool.submit(read_one, object_key)))
            if len(ahead) == READ_AHEAD:
                yield ahead.popleft()
        yield from ahead


def _arrived(object_key: str, data: bytes) -> Arrival:
    key = parse_key(object_key)
    batch, digest = decode(data), sha256(data)
    if key_of(batch, digest) != key:
        raise RefusedError(f"the content belongs to {key_of(batch, digest)}")
    if ahead := batch.ahead(time.time_ns() // 1000):
        raise RefusedError(ahead)
    return Arrival(key, bytes.fromhex(digest), batch)


def _refusal(error: ValueError | RefusedError) -> RefusedError:
    if isinstance(error, RefusedError):
        return error
    refused = RefusedError(str(error))
    refused.__cause__ = error
    return refused


def _aside(store: Store, of: Taken) -> Taken:
    """Put it into quarantine if it is at fault; where that cannot be done, it is to be tried again."""
    if of.quarantined:
        try:
            quarantine(store, of.object_key, _agent_of(of.object_key), str(of.outcome))
        except Exception as unavailable:  # noqa: BLE001 - whatever it is, it costs this object's turn only
            return replace(of, outcome=unavailable)
    return of


def _agent_of(object_key: str) -> str | None:
    try:
        return parse_key(object_key).agent_id
    except ValueError:
        return None


def object_keys(body: str) -> Iterator[str]:
    """The keys of batches in one notification of S3; its test message and other objects give none."""
    for record in json.loads(body).get("Records", []):
        # S3 encodes the key as a form does; moto and some other stores encode the slashes, too.
        key = unquote_plus(record["s3"]["object"]["key"])
        if PurePosixPath(key).is_relative_to(PREFIX):
            yield key


def notification(object_key: str) -> str:
    """What S3 would put into the queue for a new object, as far as `object_keys` reads it."""
    return json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(object_key, safe="/")}}}]})


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Load what the messages tell of; the answer names the messages that are to come again."""
    told: dict[str, list[str]] = {}
    failed: dict[str, Exception] = {}
    for record in event["Records"]:
        try:
            told[record["messageId"]] = list(object_keys(record["body"]))
        except Exception as error:  # noqa: BLE001 - a message may have any text, nested as deep as it likes
            failed[record["messageId"]] = error
    keys = [key for keys in told.values() for key in keys]
    missed = take(keys, _bucket(), _store(), _environment().retention) if keys else {}
    for message_id, its_keys in told.items():
        if reasons := [missed[key] for key in its_keys if key in missed]:
            failed[message_id] = reasons[0]
    for message_id, reason in failed.items():
        what = f"{type(reason).__name__}: {reason}"
        logger.warning("not loaded, will be tried again", extra={"message_id": message_id, "error": what})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
