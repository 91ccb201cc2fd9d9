"""Takes the values out of log messages: what is not known to be a name, a count or a duration becomes `?`."""

from __future__ import annotations

import re

from agent.logs.literals import CUT, redact_sql, redact_sql_until

__all__ = ["redact_message", "redact_sql", "split_message"]

# What these words introduce in PostgreSQL's messages is the name of an object or of a peer, never a value.
_NOUNS = (
    "relation|table|column|constraint|index|role|user|group|database|schema|function|procedure|routine|aggregate|"
    "type|domain|sequence|view|parameter|extension|tablespace|slot|publication|subscription|trigger|rule|policy|"
    "language|operator|class|family|collation|encoding|conversion|attribute|partition|object|server|wrapper|worker|"
    "prepared statement|cursor|portal|savepoint|host|address|identity"
)
# `duration: 1.234 ms  execute <unnamed>: select 1`; the word before the number depends on lc_messages.
_LOGGED_SQL = re.compile(
    r"(?P<head>(?:\w+ ?: [0-9.,]+ ms  )?(?:statement|prepare|(?:parse|bind|execute)\b[^:\n]*)"
    r"|\w+ ?: [0-9.,]+ ms  [^:\n]{1,200}): (?P<sql>.*)",
    re.DOTALL,
)
# auto_explain. After a quote comes YAML, where the query is one quoted string.
_PLAN = re.compile(r"(?P<head>\w+ ?: [0-9.,]+ ms  plan):\s*(?:Query Text: (?!\")(?P<sql>.*)|.*)", re.DOTALL)
_PLAN_BEGINS = re.compile(
    r"\n(?:Query (?:Parameters|Identifier): |[^\n]{0,400}?  \((?:cost|actual|rows)=|[ ]{0,80}CTE )"
)
_PARAMETERS = re.compile(r"(.*?\bparameters: )(?=\$[0-9])", re.DOTALL | re.IGNORECASE)
# pgaudit quotes its last fields only where it must: they begin after the seventh comma.
_AUDIT = re.compile(r"AUDIT: (?:(?:SESSION|OBJECT),[0-9]+,[0-9]+,\w*,[\w ]*,[\w ]*,[\w.]*,)?")

_OPENING = re.compile(
    rf"""
      (?P<name>\b(?:{_NOUNS})[ =]"[^"\n]{{0,200}}")
    | (?P<inner>\b(?:SQL[ ](?:statement|expression)|PL/\w+[ ]assignment)[ ]")
    | (?P<process>^Process[ ][0-9]+:[ ])
    | (?P<command>\b(?:remote[ ]SQL[ ]command|received[ ]replication[ ]command):[ ])
    | (?P<data>\bline[ ][0-9]+:[ ]|\bLINE[ ][0-9]+:[ ])
    | (?P<paren>\)[ ]?=[ ]?\(|\b(?:contains|row|tuple|full)[ ]\()
    | (?P<bytes>\b0x[0-9a-fA-F]{{2}}(?:[ ]0x[0-9a-fA-F]{{2}})*)
    | (?P<apostrophe>(?<=[a-z]{{2}})'(?:s|t|re|ll|ve|d)\b)
    | (?P<quote>["'])
    | (?P<foreign>[«»„“”])
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_INNER_ENDS = re.compile(r'"(?=\n|\Z)')
_PROCESS_ENDS = re.compile(r"\n(?=Process [0-9]+: )")
_FOREIGN_CLOSING = re.compile(r".*[«»„“”]", re.DOTALL)


def redact_message(text: str) -> str:
    """The message without values; SQL in it is redacted as SQL.

    A text that ends with `…` was cut: whatever is open at its end is a value to the end.
    """
    head, sql = split_message(text)
    return head if sql is None else f"{head}: {sql}"


def split_message(text: str) -> tuple[str, str | None]:
    """The message without values, apart from the SQL it reports (`statement:`, `execute …:`, a plan's query)."""
    if plan := _PLAN.fullmatch(text):
        if plan["sql"] is None:
            return plan["head"], None
        query, _ = redact_sql_until(plan["sql"], 0, _PLAN_BEGINS)
        return plan["head"], query.strip()
    if logged := _LOGGED_SQL.fullmatch(text):
        return _values_out(logged["head"]), redact_sql(logged["sql"])
    if parameters := _PARAMETERS.match(text):
        return _values_out(parameters[1]) + "?", None
    if audit := _AUDIT.match(text):
        return audit[0] + "?", None
    return _values_out(text), None


def _values_out(text: str) -> str:
    parts: list[str] = []
    position = 0
    while opening := _OPENING.search(text, position):
        parts.append(text[position : opening.start()])
        redacted, position = _value_out(text, opening)
        parts.append(redacted)
    parts.append(text[position:])
    return "".join(parts)


def _value_out(text: str, opening: re.Match[str]) -> tuple[str, int]:
    """What stands for the value that opens here, and where the text goes on."""
    match opening.lastgroup:
        case "name" | "apostrophe":
            return opening[0], opening.end()
        case "inner":
            return _sql_out(text, opening, _INNER_ENDS)
        case "process":
            return _sql_out(text, opening, _PROCESS_ENDS)
        case "command":
            return _sql_out(text, opening, None)
        case "data":
            return opening[0] + "?", len(text)
        case "bytes":
            return "?", opening.end()
        case "paren":
            return opening[0] + "?", _last(text, ")", opening.end())
        case "foreign":
            closing = None if text.endswith(CUT) else _FOREIGN_CLOSING.match(text, opening.end())
            return '"?"', closing.end() if closing else len(text)
        case _:
            end = _last(text, opening[0], opening.end())
            return f"{opening[0]}?{opening[0]}", min(end + 1, len(text))


def _sql_out(text: str, opening: re.Match[str], stop: re.Pattern[str] | None) -> tuple[str, int]:
    redacted, end = redact_sql_until(text, opening.end(), stop)
    if stop is _INNER_ENDS:
        return f'{opening[0]}{redacted}"', min(end + 1, len(text))
    return opening[0] + redacted, end


def _last(text: str, closing: str, start: int) -> int:
    # PostgreSQL does not escape quotes inside a value: only the last one is sure to be outside of it.
    found = -1 if text.endswith(CUT) else text.rfind(closing, start)
    return len(text) if found < 0 else found
