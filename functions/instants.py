"""Instants as callers write them in a URL: RFC 3339, with an offset."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _written_out(value: object) -> object:
    # pydantic takes numbers, too, and guesses whether they are seconds or milliseconds.
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("an instant of RFC 3339 is expected, such as 2026-01-31T09:30:00Z")
    return value


#: An instant as RFC 3339 writes it, with its offset.
Instant = Annotated[AwareDatetime, BeforeValidator(_written_out)]
