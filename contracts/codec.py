"""A batch as bytes: JSON in columns, gzipped; its sha-256 is its identity.

JSON goes through pydantic's own parser: it refuses NaN and Infinity and keeps integers beyond 64 bits as what they
are. gzip goes through ISA-L, three times as fast as zlib at either end.
"""

from __future__ import annotations

import hashlib
from typing import Any

from isal import isal_zlib
from isal.igzip_lib import IsalError
from pydantic import ValidationError
from pydantic_core import from_json

from contracts.batch import Batch
from contracts.limits import MAX_COMPRESSED_BYTES, MAX_INFLATED_BYTES

_GZIP = 31  # zlib's window bits for a gzip header and trailer; its mtime is 0
_LEVEL = 1

#: Characters of a place, and of a message, that a refusal repeats.
_LONGEST = 280


class BatchError(ValueError):
    """These bytes are not a batch; the message names the place."""


class BatchTooLargeError(BatchError):
    """The batch exceeds a limit of size."""


class BatchInvalidError(BatchError):
    """It is JSON, but not what the contract says."""


def encode(batch: Batch) -> bytes:
    """The batch as it travels. Identical batches give identical bytes, so that the sha-256 is an identity."""
    # mtime is 0 in what isal writes, so the bytes depend on the content alone.
    return bytes(isal_zlib.compress(batch.model_dump_json(by_alias=True, exclude_none=True).encode(), _LEVEL, _GZIP))


def decode(data: bytes) -> Batch:
    """The batch in these bytes.

    Raises:
        BatchTooLargeError: more than 4 MB compressed or 50 MB inflated.
        BatchInvalidError: the JSON does not follow the contract.
        BatchError: not gzip, or not JSON.
    """
    try:
        document = from_json(inflate(data), allow_inf_nan=False)
    except ValueError as error:
        if isinstance(error, BatchError):
            raise
        raise BatchError(f"not JSON: {error}") from error
    try:
        return Batch.model_validate(document)
    except ValidationError as error:
        raise BatchInvalidError(explain(error)) from error


def inflate(data: bytes) -> bytes:
    """The content of exactly one gzip member, never more than 50 MB of it in memory."""
    if len(data) > MAX_COMPRESSED_BYTES:
        raise BatchTooLargeError(f"{len(data)} bytes compressed, more than {MAX_COMPRESSED_BYTES}")
    inflater = isal_zlib.decompressobj(_GZIP)
    try:
        content: bytes = inflater.decompress(data, MAX_INFLATED_BYTES + 1)
    except IsalError as error:  # type: ignore[misc]  # its stub leaves out that it is an exception
        raise BatchError(f"not gzip: {error}") from error
    if len(content) > MAX_INFLATED_BYTES:
        raise BatchTooLargeError(f"more than {MAX_INFLATED_BYTES} bytes inflated")
    if not inflater.eof:
        raise BatchError("not gzip: the data ends too early")
    if inflater.unused_data:
        raise BatchError(f"{len(inflater.unused_data)} bytes after the end of the gzip data")
    return content


def sha256(data: bytes) -> str:
    """The identity of a batch's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def explain(error: ValidationError) -> str:
    """The first thing wrong with a document, with its place; how many more there are.

    Made to be stored and answered: printable, and short whatever a stranger named its fields.
    """
    first: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    message = str(first["msg"]).removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{_short(place)}: {_short(message)}{more}" if place else f"{_short(message)}{more}"


def _short(text: str) -> str:
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)
