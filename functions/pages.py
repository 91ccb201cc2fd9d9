"""Pages: an opaque cursor that carries the last key of the page before."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from contracts.limits import BIGINT_MAX, BIGINT_MIN, OID_MAX

DEFAULT_ITEMS, MAX_ITEMS = 100, 1000

#: A key of a page is short; a longer cursor is none of ours.
MAX_CURSOR = 2000

Text = Annotated[str, Field(strict=True, pattern=r"^[^\x00]*$")]
Bigint = Annotated[int, Field(strict=True, ge=BIGINT_MIN, le=BIGINT_MAX)]
Oid = Annotated[int, Field(strict=True, ge=0, le=OID_MAX)]

_ANY = TypeAdapter(tuple[Any, ...])


class CursorError(ValueError):
    """The cursor is not one that this route gave."""


def encode(key: tuple[Any, ...]) -> str:
    """The cursor that leads past the row of this key."""
    return base64.urlsafe_b64encode(_ANY.dump_json(key)).rstrip(b"=").decode()


def decode(cursor: str, *types: object) -> tuple[Any, ...]:
    """The key in a cursor, of values of these types.

    Raises:
        CursorError: it is no cursor, or one of another route.
    """
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key: tuple[Any, ...] = TypeAdapter(tuple[types]).validate_json(data)  # type: ignore[valid-type]
    except (binascii.Error, ValidationError, ValueError) as error:
        raise CursorError("cursor: not one that this route gave; leave it out to begin anew") from error
    return key
