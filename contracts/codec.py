"""A batch as bytes: JSON in columns, gzipped; its sha-256 is its identity.

JSON goes through pydantic's own parser: it refuses NaN and Infinity and keeps integers beyond 64 bits as what they
are. gzip goes through ISA-L, three times as fast as zlib at either end.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from isal import isal_zlib
from isal.igzip_lib import IsalError
from pydantic import ValidationError
from pydantic_core import from_json

from contracts.batch import Batch
from contracts.limits import MAX_BRACKETS, MAX_COMPRESSED_BYTES, MAX_INFLATED_BYTES

_GZIP = 31  # zlib's window bits for a gzip header and trailer; its mtime is 0
_LEVEL = 1

#: Characters of a place, and of a message, that a refusal repeats.
_LONGEST = 280


#: The end of an object's key. Within a text every quotation mark follows a backslash, and the one that begins a text
#: follows a bracket, a colon, a comma or a blank: so this finds all keys that end in a letter, digit or underscore,
#: as every name of the contract does. It begins with a literal for the sake of speed: 4 % of the time of decoding.
_KEY_END = re.compile(rb'"(?<=\w")[ \t\r\n]*:')


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
        BatchTooLargeError: more than 4 MB compressed or 50 MB inflated, or more brackets than any batch has.
        BatchInvalidError: the JSON does not follow the contract, or says something twice.
        BatchError: not gzip, or not JSON.
    """
    content = inflate(data)
    brackets = content.count(b"[") + content.count(b"{")
    if brackets > MAX_BRACKETS:
        raise BatchTooLargeError(f"{brackets} objects and arrays, more than {MAX_BRACKETS}")
    try:
        document = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise BatchError(f"not JSON: {error}") from error
    try:
        batch = Batch.model_validate(document)
    except ValidationError as error:
        raise BatchInvalidError(explain(error)) from error
    # The parser keeps the last of two values without a word. Valid names are all found by their ends.
    if len(_KEY_END.findall(content)) != _keys(document):
        raise BatchInvalidError(f"{_said_twice(content)}: this key stands twice")
    return batch


def _keys(document: object) -> int:
    """The keys of all objects; columns are not looked into, since a batch that is valid has no objects there."""
    if isinstance(document, dict):
        return len(document) + sum(map(_keys, document.values()))
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return sum(map(_keys, document))
    return 0


class _Twice(str):
    """In the place of an object: the key that stands twice in it."""

    __slots__ = ()


def _said_twice(content: bytes) -> str:
    def pairs(found: list[tuple[str, Any]]) -> object:
        unique = dict(found)
        if len(unique) == len(found):
            return unique
        names = [name for name, _ in found]
        return _Twice(next(name for index, name in enumerate(names) if name in names[:index]))

    def place(of: object) -> str | None:
        if isinstance(of, _Twice):
            return str(of)
        parts = of.items() if isinstance(of, dict) else enumerate(of) if isinstance(of, list) else ()
        for part, value in parts:
            if (inner := place(value)) is not None:
                return f"[{part}]{_joined(inner)}" if isinstance(part, int) else f"{part}{_joined(inner)}"
        return None

    return _short(place(json.loads(content, object_pairs_hook=pairs)) or "an object")


def _joined(inner: str) -> str:
    return inner if inner.startswith("[") else f".{inner}"


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
