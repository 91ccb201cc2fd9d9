"""The SQL files, each chosen by the version of the server, or of the extension that it reads.

`table_stats.pg16.sql` is for servers of version 16 and newer, `statement_stats.ext1_11.sql` for the extension from
version 1.11; the plain name is for older ones. The highest version that is not above the one at hand wins.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import LiteralString

_NAME = re.compile(r"(?P<query>\w+?)(?:\.(?:pg|ext)(?P<version>\d+(?:_\d+)*))?\.sql")

#: Of a server its major version alone, `(18,)`; of an extension `(1, 11)`.
Version = tuple[int, ...]


class TooOldError(Exception):
    """What the query reads came with a later version."""


@functools.cache
def _variants() -> dict[str, dict[Version, str]]:
    found: dict[str, dict[Version, str]] = {}
    for file in resources.files("agent.queries").iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            version = tuple(int(part) for part in match["version"].split("_")) if match["version"] else ()
            found.setdefault(match["query"], {})[version] = file.name
    return found


@functools.cache
def query(name: str, version: Version) -> LiteralString:
    """The text of a query for a server, or an extension, of that version.

    Raises:
        KeyError: there is no such query.
        TooOldError: there is none for a version that old.
    """
    variants = _variants()[name]
    suitable = [each for each in variants if each <= version]
    if not suitable:
        raise TooOldError(f"{name} came with version {'.'.join(map(str, min(variants)))}")
    # The files are the program's own text, as literal as what stands in its modules.
    return resources.files("agent.queries").joinpath(variants[max(suitable)]).read_text()


def names() -> tuple[str, ...]:
    """Every query there is."""
    return tuple(sorted(_variants()))
