"""Signed addresses: an agent puts a batch into the bucket itself, under its own prefix, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from contracts.batch import sent_ahead
from contracts.codec import BatchInvalidError, BatchTooLargeError
from contracts.limits import MAX_COMPRESSED_BYTES
from contracts.objects import key_at
from contracts.uploads import UploadAsked, UploadGranted, put_headers
from functions.ingest.bucket import Bucket

#: How long an address is good for: one attempt of an agent, whose clock and S3's may differ.
GOOD_FOR_SECONDS = 300


class CannotSignError(Exception):
    """The bucket has no addresses to sign."""


def grant(asked: UploadAsked, agent_id: str, now_us: int, bucket: Bucket) -> UploadGranted:
    """An address that makes this one object of the agent that asks: of just this content, and only once.

    Raises:
        BatchTooLargeError: more than a batch may have.
        BatchInvalidError: it is from the future.
        CannotSignError: the bucket is a folder.
        BucketUnavailableError: ask again.
    """
    if asked.size_bytes > MAX_COMPRESSED_BYTES:
        raise BatchTooLargeError(f"size_bytes: {asked.size_bytes}, more than {MAX_COMPRESSED_BYTES}")
    if ahead := sent_ahead(asked.sent_at, now_us):
        raise BatchInvalidError(ahead)
    key = key_at(agent_id, asked.stream_id, asked.seq, asked.sent_at, asked.sha256)
    headers = put_headers(asked.sha256, asked.size_bytes)
    url = bucket.sign_put(str(key), headers, GOOD_FOR_SECONDS)
    if url is None:
        raise CannotSignError("this server's bucket is a folder, which takes no uploads; use transport http")
    expires_at = datetime.fromtimestamp(now_us // 1_000_000 + GOOD_FOR_SECONDS, UTC)
    return UploadGranted(id=key.id, key=str(key), url=url, headers=headers, expires_at=expires_at)
