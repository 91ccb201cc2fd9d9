"""What the door does with the bytes of a batch: check them, make them durable."""

from __future__ import annotations

from contracts.codec import BatchInvalidError, decode, sha256
from contracts.objects import BatchKey, key_of
from functions.ingest.bucket import Bucket


class ForeignBatchError(Exception):
    """The batch names another agent than the one that sends it."""


def accept(data: bytes, agent_id: str, now_us: int, bucket: Bucket) -> BatchKey:
    """Put a batch into the bucket. Doing so again is harmless.

    Raises:
        BatchError: the bytes are not a batch; nothing was stored.
        ForeignBatchError: it is another agent's; nothing was stored.
        BucketUnavailableError: it may or may not be stored; send it again.
    """
    batch = decode(data)
    if batch.agent_id != agent_id:
        raise ForeignBatchError(f"agent_id: the batch is {batch.agent_id}'s, the token is {agent_id}'s")
    if ahead := batch.ahead(now_us):
        raise BatchInvalidError(ahead)
    key = key_of(batch, sha256(data))
    bucket.create(str(key), data)
    return key
