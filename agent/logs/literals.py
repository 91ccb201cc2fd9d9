"""Takes the literals and the comments out of SQL text, complete or cut anywhere.

The tokens are those of PostgreSQL's lexer: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

import re

#: Stands at the end of every text that was cut.
CUT = "…"

_TOKEN = re.compile(
    r"""
      (?P<comment>--[^\n\r]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z))
    | (?P<quoted>(?:[bBxXnN]|[uU]&)?'[^']*(?:''[^']*)*(?:'|\Z))
    | (?P<dollar>\$(?P<tag>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<parameter>\$[0-9]+)
    | (?P<identifier>"[^"]*(?:"|\Z))
    | (?P<number>\.?[0-9][A-Za-z0-9_\x80-\U0010ffff]*(?:(?<=[eE])[+-][0-9]+)?
        (?:\.(?!\.)[A-Za-z0-9_]*(?:(?<=[eE])[+-][0-9]+)?)?)
    | (?P<plain>(?:(?!(?:[eEbBxXnN]|[uU]&)')[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*
        |[ \t\r(),;=<>+*:!&|@\#^~`?%\[\]{}]|\.(?![0-9]))+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
# `set app.token = word` needs no quotes around its value; only settings of applications hold such words.
_BARE_SETTING = re.compile(
    r"""(\bset\s+(?:(?:session|local)\s+)?(?:"[^"]*"|[\w$]+)(?:\.(?:"[^"]*"|[\w$]+))+\s*(?:=|\bto\b)\s*)[^;]+""",
    re.IGNORECASE,
)


def redact_sql(text: str) -> str:
    """The SQL with every literal as `?` and without its comments.

    Names, double-quoted ones too, and `$1` stay. What is not closed (the text was cut) is a literal to the end.
    """
    redacted, _ = redact_sql_until(text, 0, None)
    return redacted.strip()


def redact_sql_until(text: str, start: int, stop: re.Pattern[str] | None) -> tuple[str, int]:
    """The redacted SQL that begins at `start`, and where it ends: where `stop` matches between two tokens."""
    parts: list[str] = []
    position = start
    while position < len(text) and not (stop and stop.match(text, position)):
        token = _TOKEN.match(text, position)
        if token is None:  # cannot be: the last alternative takes any character
            break
        position = token.end()
        match token.lastgroup:
            case "comment":
                parts.append(" ")
            case "block":
                parts.append(" ")
                position = _after_block(text, position)
            case "dollar" | "tag":
                parts.append("?")
                closing = text.find(token["dollar"], position)
                position = len(text) if closing < 0 else closing + len(token["dollar"])
            case "quoted":
                parts.append("?")
                # A closing quote behind a backslash: with standard_conforming_strings off the literal goes on.
                body = token[0].removesuffix("'")
                if (len(body) - len(body.rstrip("\\"))) % 2:
                    position = len(text)
            case "escaped" | "number":
                parts.append("?")
            case "identifier":
                # A name with doubled quotes is two names in a row: both stay.
                parts.append(token[0] if token[0].count('"') == 2 else "?")
            case _:
                parts.append(token[0])
    return _BARE_SETTING.sub(r"\1?", "".join(parts)), position


def _after_block(text: str, position: int) -> int:
    # Block comments nest in PostgreSQL.
    depth = 1
    for edge in _BLOCK_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
