"""Entity tags as callers send them (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import re

ANY = "*"

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def tags(header: str) -> list[str]:
    """The tags of an If-None-Match, whose weakness plays no part in the comparison."""
    return [tag for _, tag in _TAG.findall(header)]


def strong(header: str) -> list[str]:
    """The tags of an If-Match that can match at all: a weak one never does."""
    return [tag for weak, tag in _TAG.findall(header) if not weak]


def is_any(header: str) -> bool:
    """Whether it stands for any version that there is."""
    return header.strip() == ANY


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has this version already."""
    return if_none_match is not None and (is_any(if_none_match) or etag in tags(if_none_match))
