"""The loader: takes notifications of new objects from the queue, and loads each batch.

A batch at fault goes to quarantine and is done with; one that failed through the store's or the bucket's fault is
answered as a failure of its own message, so that the queue gives it again and its neighbours are not held up.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.data_classes import SQSEvent
from pydantic import Field, SecretStr

from contracts.codec import BatchError, decode, sha256
from contracts.limits import MAX_COMPRESSED_BYTES
from contracts.objects import PREFIX, key_of, parse_key
from functions.environment import Environment, read
from functions.http import logger
from functions.ingest.bucket import Bucket, open_bucket
from functions.ingest.ledger import Arrival
from functions.ingest.load import RefusedError, load, quarantine
from functions.store import Store

#: So many rows are loaded in one transaction, or what one event brings if that is less.
_ENOUGH_ROWS = 100_000


class LoaderEnvironment(Environment):
    bucket_url: str
    store_dsn: SecretStr
    keep_days: int = Field(default=30, ge=1, le=3650)


@functools.cache
def _environment() -> LoaderEnvironment:
    return read(LoaderEnvironment)


@functools.cache
def _bucket() -> Bucket:
    return open_bucket(_environment().bucket_url)


@functools.cache
def _store() -> Store:
    return Store(_environment().store_dsn, "pganalytics ingest")


def take(object_keys: Iterable[str], bucket: Bucket, store: Store, keep_days: int) -> dict[str, Exception]:
    """Load these objects, or put them into quarantine. What is answered is to be tried again, and why."""
    failed: dict[str, Exception] = {}
    waiting: dict[str, Arrival] = {}

    def load_waiting() -> None:
        for object_key, outcome in zip(waiting, load(store, list(waiting.values()), keep_days), strict=True):
            if isinstance(outcome, RefusedError):
                _aside(store, object_key, outcome, failed)
            elif isinstance(outcome, Exception):
                failed[object_key] = outcome
            else:
                rows = waiting[object_key].batch.rows
                logger.info("loaded", extra={"object_key": object_key, "rows": rows, "outcome": str(outcome)})
        waiting.clear()

    for object_key in dict.fromkeys(object_keys):
        try:
            waiting[object_key] = _arrived(object_key, bucket)
        except (BatchError, RefusedError, ValueError) as error:
            _aside(store, object_key, error, failed)
        except Exception as error:  # noqa: BLE001 - the bucket's fault, say: it costs this object's turn only
            failed[object_key] = error
        if sum(arrival.batch.rows for arrival in waiting.values()) >= _ENOUGH_ROWS:
            load_waiting()
    if waiting:
        load_waiting()
    return failed


def _arrived(object_key: str, bucket: Bucket) -> Arrival:
    key = parse_key(object_key)
    data = bucket.read(object_key, MAX_COMPRESSED_BYTES)
    batch, digest = decode(data), sha256(data)
    if key_of(batch, digest) != key:
        raise RefusedError(f"the content belongs to {key_of(batch, digest)}")
    if ahead := batch.ahead(time.time_ns() // 1000):
        raise RefusedError(ahead)
    return Arrival(key, bytes.fromhex(digest), batch)


def _aside(store: Store, object_key: str, error: Exception, failed: dict[str, Exception]) -> None:
    logger.error("quarantined", extra={"object_key": object_key, "reason": str(error)})
    try:
        quarantine(store, object_key, _agent_of(object_key), str(error))
    except Exception as unavailable:  # noqa: BLE001 - whatever it is, it costs this object's turn only
        failed[object_key] = unavailable


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


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Load what the messages tell of; the answer names the messages that are to come again."""
    told: dict[str, list[str]] = {}
    failed: dict[str, Exception] = {}
    for record in SQSEvent(event).records:
        try:
            told[record.message_id] = list(object_keys(record.body))
        except Exception as error:  # noqa: BLE001 - a message may have any text, nested as deep as it likes
            failed[record.message_id] = error
    keys = [key for keys in told.values() for key in keys]
    missed = take(keys, _bucket(), _store(), _environment().keep_days) if keys else {}
    for message_id, its_keys in told.items():
        if reasons := [missed[key] for key in its_keys if key in missed]:
            failed[message_id] = reasons[0]
    for message_id, reason in failed.items():
        what = f"{type(reason).__name__}: {reason}"
        logger.warning("not loaded, will be tried again", extra={"message_id": message_id, "error": what})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
