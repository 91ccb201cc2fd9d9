"""The SQL files, each chosen by the version of the server.

`table_stats.pg16.sql` is for servers of version 16 and newer, `table_stats.sql` for older ones; the highest version
that is not above the server's wins.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import LiteralString

_NAME = re.compile(r"(?P<query>\w+)(?:\.pg(?P<major>\d+))?\.sql")


@functools.cache
def _variants() -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for file in resources.files("agent.queries").iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            found.setdefault(match["query"], {})[int(match["major"] or 0)] = file.name
    return found


@functools.cache
def query(name: str, major: int) -> LiteralString:
    """The text of a query for a server of that major version.

    Raises:
        KeyError: there is no such query, or none for a server that old.
    """
    variants = _variants()[name]
    file = variants[max(version for version in variants if version <= major)]
    # The files are the program's own text, as literal as what stands in its modules.
    return resources.files("agent.queries").joinpath(file).read_text()


def names() -> tuple[str, ...]:
    """Every query there is."""
    return tuple(sorted(_variants()))
