"""The configuration document that an agent is to obey, as the store has it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from contracts.document import Document, VersionedDocument
from functions.store import Store

FLEET = "fleet"

# An entity tag (RFC 9110, section 8.8.3); weakness plays no part in If-None-Match.
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Answer:
    """A document as it is sent, and its strong entity tag."""

    body: str
    etag: str


def newest(store: Store) -> VersionedDocument:
    """The fleet's newest document; the built-in defaults as version 0 before anybody saved one.

    Raises:
        StoreUnavailableError: try again later.
    """
    with store.transaction() as connection:
        row = connection.execute(
            "select version, body from store.document where scope = %s order by version desc limit 1", (FLEET,)
        ).fetchone()
    if row is None:
        return VersionedDocument()
    return VersionedDocument(version=row[0], document=Document.model_validate(row[1]))


def answer(document: VersionedDocument) -> Answer:
    """The document in canonical form; its tag changes with the version, and with the content by itself."""
    body = document.model_dump_json()
    digest = hashlib.sha256(body.encode()).hexdigest()
    return Answer(body, f'"{document.version}-{digest[:32]}"')


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has this version already (If-None-Match, RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)
