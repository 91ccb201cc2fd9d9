"""Turns the server's `log_line_prefix` into a pattern for the lines of the stderr form.

Source: https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-LOG-LINE-PREFIX
"""

from __future__ import annotations

import re

from agent.logs.entry import SEVERITIES

#: What follows the prefix where the line goes on with the entry before.
SECONDARY = ("DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY", "LOCATION", "BACKTRACE")

#: Characters at the beginning of a line in which its prefix must end.
HEAD = 512

_ESCAPE = re.compile(r"%(?P<padding>-?[0-9]+)?(?P<letter>[a-zA-Z%])|(?P<text>[^%]+|%)")
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_NAME = r"[^\n]{0,64}?"
_VALUES = {
    "a": _NAME,
    "u": _NAME,
    "d": _NAME,
    "r": r"\S*?",
    "h": r"\S*?",
    "L": r"\S*?",
    "b": _NAME,
    "p": r"\d+",
    "P": r"\d*",
    "t": rf"{_TIME} \S+",
    "m": rf"{_TIME}\.\d{{3}} \S+",
    "n": r"\d+\.\d{3}",
    "i": _NAME,
    "e": r"[0-9A-Z]{5}",
    "c": r"[0-9a-f]+\.[0-9a-f]+",
    "l": r"\d+",
    "s": rf"{_TIME} \S+",
    "v": r"(?:-?\d+/\d+)?",
    "x": r"\d*",
    "Q": r"-?\d+",
}
# The code stands there with log_error_verbosity = verbose. It has a digit, which keeps pgaudit's "AUDIT: " out.
_SQLSTATE = r"(?:(?P<code>(?=[A-Z]{0,4}[0-9])[0-9A-Z]{5}): )?"
_LABEL = rf"(?P<label>{'|'.join((*SEVERITIES, *SECONDARY))}):  {_SQLSTATE}"
#: Spares the search for a prefix, which is slow where it fails.
ANY_LABEL = re.compile(r"[^\W\d_] ?:  ")
#: A line that has another prefix than the one set: the setting may have changed since it was written.
ANY_PREFIX = re.compile(
    rf"(?:(?P<m>{_TIME}(?:\.\d{{3}})? \S+) )?(?:[^\n]{{0,80}}?\[(?P<p>\d+)\])?[^\n]{{0,80}}?(?<![A-Za-z0-9_]){_LABEL}"
)


def line_pattern(log_line_prefix: str) -> re.Pattern[str]:
    """The beginning of a line up to its text; each escape's value is the group of its letter.

    A label of another language is accepted, in group `word` instead of `label`.
    """
    parts: list[str] = []
    seen: set[str] = set()
    optional = 0
    free = False
    for escape in _ESCAPE.finditer(log_line_prefix):
        letter = escape["letter"]
        if letter is None:
            parts.append("" if escape["text"] == "%" else re.escape(escape["text"]))
        elif letter == "%":
            parts.append("%")
        elif letter == "q":
            # Processes without a session end their prefix here.
            parts.append("(?:")
            optional += 1
        elif letter in _VALUES:
            # Between two names without a text nobody can tell where one ends: the second one is taken as empty.
            if free and _VALUES[letter] is _NAME:
                continue
            value = _VALUES[letter] if letter in seen else f"(?P<{letter}>{_VALUES[letter]})"
            seen.add(letter)
            parts.append(rf" *{value} *" if escape["padding"] else value)
        free = letter is not None and _VALUES.get(letter) is _NAME
    return re.compile("".join(parts) + ")?" * optional + rf"(?:{_LABEL}|(?P<word>[^\W\d_]{{2,20}}) ?:  )")
