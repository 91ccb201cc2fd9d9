"""The answer to an agent that asks for its configuration: what its scopes say together, and its entity tag."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.document import Document, VersionedDocument
from contracts.overlay import merge
from functions.config.effective import Given

# Many agents are given the same versions; so many different answers are remembered. The key is all that it depends on.
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A document as it is sent, its strong entity tag, and the version that agents report."""

    version: int
    etag: str
    body: str
    document: Document


def answer(givens: Sequence[Given]) -> Answer:
    """What an agent is to obey that is given these, in the order in which a later one wins.

    The version is the greatest revision of those that have a say; 0, the built-in defaults, if none has.
    """
    saved = [each.saved for each in givens if each.saved]
    return _answer(max((each.revision for each in saved), default=0), tuple(each.body for each in saved))


@functools.lru_cache(_REMEMBERED)
def _answer(version: int, bodies: tuple[str, ...]) -> Answer:
    document = merge([("", json.loads(body)) for body in bodies]).document
    text = VersionedDocument(version=version, document=document).model_dump_json()
    return Answer(version, f'"{version}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"', text, document)
