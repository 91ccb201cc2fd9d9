"""The loader: takes notifications of new objects from the queue, and loads each batch.

A batch at fault goes to quarantine and is done with; one that failed through the store's or the bucket's fault is
answered as a failure of its own message, so that the queue gives it again and its neighbours are not held up.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from pydantic import Field, SecretStr

from contracts.codec import BatchError, decode, sha256
from contracts.limits import MAX_AHEAD_US, MAX_COMPRESSED_BYTES
from contracts.objects import PREFIX, key_of, parse_key
from functions.environment import Environment, read
from functions.http import logger
from functions.ingest.bucket import Bucket, open_bucket
from functions.ingest.load import Loaded, RefusedError, load, quarantine
from functions.store import Store


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


def take(object_key: str, bucket: Bucket, store: Store, keep_days: int) -> Loaded | None:
    """Load one object; None if it went to quarantine.

    Raises:
        BucketUnavailableError, ObjectMissingError, StoreUnavailableError: try again later.
    """
    agent_id = None
    try:
        key = parse_key(object_key)
        agent_id = key.agent_id
        data = bucket.read(object_key, MAX_COMPRESSED_BYTES)
        batch, digest = decode(data), sha256(data)
        if key_of(batch, digest) != key:
            raise RefusedError(f"the content belongs to {key_of(batch, digest)}")
        _not_from_the_future(batch.sent_at, [frame.collected_at for frame in batch.frames])
        loaded = load(store, batch, key, bytes.fromhex(digest), keep_days)
    except (BatchError, RefusedError, ValueError) as error:
        logger.error("quarantined", extra={"object_key": object_key, "reason": str(error)})
        quarantine(store, object_key, agent_id, str(error))
        return None
    logger.info("loaded", extra={"object_key": object_key, "rows": batch.rows, "outcome": str(loaded)})
    return loaded


def _not_from_the_future(sent_at: int, collected_at: list[int]) -> None:
    # The door has held sent_at against its clock; what came past the door is held against its own header.
    for index, at in enumerate(collected_at):
        if at > sent_at + MAX_AHEAD_US:
            raise RefusedError(f"frames[{index}].collected_at: after the batch was closed")


def object_keys(body: str) -> Iterator[str]:
    """The keys of batches in one notification of S3; its test message and other objects give none."""
    for record in json.loads(body).get("Records", []):
        # S3 encodes the key as a form does; moto and some other stores encode the slashes, too.
        key = unquote_plus(record["s3"]["object"]["key"])
        if PurePosixPath(key).is_relative_to(PREFIX):
            yield key


def _record(record: SQSRecord) -> None:
    try:
        for key in object_keys(record.body):
            take(key, _bucket(), _store(), _environment().keep_days)
    except Exception as error:
        # Powertools turns this into the answer "failed" and says nothing more.
        logger.warning("not loaded, will be tried again", extra={"error": f"{type(error).__name__}: {error}"})
        raise


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    # A failure of every record is an answer like any other: raising would hide which ones failed.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event=event, record_handler=_record, processor=processor))
