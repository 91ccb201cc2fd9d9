"""Promises of redaction: what is not known to be a name, a count or a duration does not leave the process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.logs.literals import CUT
from agent.logs.redact import redact_message, redact_sql

SECRET = "s3cretHunter"


@pytest.mark.parametrize(
    ("sql", "redacted"),
    [
        ("select 'a', 'it''s', 42, -1.5e-3, 0x1F, 1_000", "select ?, ?, ?, -?, ?, ?"),
        (r"select E'it\'s', U&'d\0061t', B'01', X'ff', N'n'", "select ?, ?, ?, ?, ?"),
        ("select $$a$$, $tag$ $$ $x$ ' $tag$, $1, $2", "select ?, ?, $1, $2"),
        ('select "Col 1", t1.c2 from "T" where a=1', 'select "Col 1", t1.c2 from "T" where a=?'),
        ("select 1 -- secret\n, 2 /* a /* nested */ 'b */ from t", "select ?  \n, ?   from t"),
        ("alter role app password 'SCRAM", "alter role app password ?"),
        ("insert into t values ('a', $q$never closed", "insert into t values (?, ?"),
        ('select "never closed', "select ?"),
        ("select a$b$c, é$$x$$ from t", "select a$b$c, é$$x$$ from t"),
        ("select name'x', e'\\'y'", "select name?, ?"),
        ("set local app.jwt = abcdef", "set local app.jwt = ?"),
        ("set work_mem = '4MB'; select 1", "set work_mem = ?; select ?"),
        # With standard_conforming_strings off the literal would go on behind that quote.
        (r"select 'a\' or b = secret", "select ?"),
        ("select a[1:2], b->>'k', c #>> '{a,b}' from t limit 10", "select a[?:?], b->>?, c #>> ? from t limit ?"),
        ("", ""),
    ],
)
def test_sql_keeps_its_shape_and_loses_its_literals(sql: str, redacted: str) -> None:
    assert redact_sql(sql) == redacted


@pytest.mark.parametrize(
    ("message", "redacted"),
    [
        ('relation "orders" does not exist', 'relation "orders" does not exist'),
        (
            'duplicate key value violates unique constraint "t_pkey"',
            'duplicate key value violates unique constraint "t_pkey"',
        ),
        ('invalid input syntax for type integer: "abc"', 'invalid input syntax for type integer: "?"'),
        ('invalid input syntax for type integer: "a"b relation "c""', 'invalid input syntax for type integer: "?"'),
        ('syntax error at or near "secret"', 'syntax error at or near "?"'),
        (
            'password authentication failed for user "app"',
            'password authentication failed for user "app"',
        ),
        ("Key (id, name)=(1, a) b) already exists.", "Key (id, name)=(?) already exists."),
        ("Failing row contains (1, secret, (x)).", "Failing row contains (?)."),
        ('Token "x" is invalid.', 'Token "?" is invalid.'),
        ('JSON data, line 1: {"a": secret', "JSON data, line 1: ?"),
        ("Parameters: $1 = 'a', $2 = '5'", "Parameters: ?"),
        ("unnamed portal with parameters: $1 = 'a'", "unnamed portal with parameters: ?"),
        ("duration: 1.234 ms  statement: select 5", "duration: 1.234 ms  statement: select ?"),
        ("duration: 1.234 ms  bind s1/p1: select $1, 5", "duration: 1.234 ms  bind s1/p1: select $1, ?"),
        ("execute <unnamed>: select 'a'", "execute <unnamed>: select ?"),
        ("statement: select 'a'", "statement: select ?"),
        ("duration: 0.5 ms", "duration: 0.5 ms"),
        (
            "checkpoint complete: wrote 5 buffers (0.0%); sync=0.001 s",
            "checkpoint complete: wrote 5 buffers (0.0%); sync=0.001 s",
        ),
        (
            "process 7 still waiting for ShareLock on transaction 745 after 1000.1 ms",
            "process 7 still waiting for ShareLock on transaction 745 after 1000.1 ms",
        ),
        (
            "Process 7 waits for ShareLock on transaction 5.\nProcess 7: select 'a'\nProcess 8: x(1)",
            "Process 7 waits for ShareLock on transaction 5.\nProcess 7: select ?\nProcess 8: x(?)",
        ),
        (
            'SQL statement "select \'"\nPL/ a\', 5 from "t""\nPL/pgSQL function f(integer) line 3 at SQL statement',
            'SQL statement "select ?, ? from "t""\nPL/pgSQL function f(integer) line 3 at SQL statement',
        ),
        ("AUDIT: SESSION,1,1,READ,SELECT,,,select 5,<none>", "AUDIT: SESSION,1,1,READ,SELECT,,,?"),
        ('invalid byte sequence for encoding "UTF8": 0xe9 0x20', 'invalid byte sequence for encoding "UTF8": ?'),
        ('connection authenticated: user="app" method=trust', 'connection authenticated: user="app" method=trust'),
        ('parameter "app.key" changed to "secret"', 'parameter "app.key" changed to "?"'),
        (f'near "a"secret{CUT}', 'near "?"'),
        (
            "duration: 2.5 ms  plan:\nQuery Text: select *\nfrom t where a = 'x'\n"
            "Seq Scan on t  (cost=0.00..1 rows=1)\n  Filter: (a = 'x'::text)",
            "duration: 2.5 ms  plan: select *\nfrom t where a = ?",
        ),
        ('duration: 2.5 ms  plan:\n{"Query Text": "select \'x\'"}', "duration: 2.5 ms  plan"),
        ("duration: 2.5 ms  plan:\nQuery Text: \"select 'x'\"\nPlan:", "duration: 2.5 ms  plan"),
    ],
)
def test_a_message_keeps_names_and_counts_and_loses_values(message: str, redacted: str) -> None:
    assert redact_message(message) == redacted


_NOISE = st.text(alphabet="ab '\"\\$-/*\n(){}=:,;é…0", max_size=20)


@st.composite
def literals(draw: st.DrawFn) -> str:
    """A complete literal, or comment, of PostgreSQL that holds the secret."""
    inside = draw(_NOISE) + SECRET + draw(_NOISE)
    kind = draw(st.sampled_from(["plain", "prefixed", "escaped", "dollar", "line", "block"]))
    match kind:
        case "plain":
            return "'" + inside.replace("'", "''") + "'"
        case "prefixed":
            return draw(st.sampled_from(["B", "x", "N", "U&", "u&"])) + "'" + inside.replace("'", "''") + "'"
        case "escaped":
            escape = draw(st.sampled_from(["''", r"\'"]))
            return "E'" + inside.replace("\\", r"\\").replace("'", escape) + "'"
        case "dollar":
            tag = draw(st.sampled_from(["", "q", "_tag1"]))
            return f"${tag}$" + inside.replace("$", "") + f"${tag}$"
        case "line":
            return "--" + inside.replace("\n", " ") + "\n"
        case _:
            return "/*" + inside.replace("*", "").replace("/", "") + "*/"


_CODE = st.sampled_from(
    ["select ", "a", ".b", '"Q""i"', ",", "=", "(", ")", "$1", " 42 ", "\n", "e", "::text", " - ", "/", "tag$x", "[1]"]
)


@given(st.lists(st.one_of(_CODE, literals()), max_size=12), st.data())
def test_a_secret_in_any_literal_never_survives(parts: list[str], data: st.DataObject) -> None:
    # A space keeps the letters before a quote from making it another kind of literal.
    sql = " ".join(parts)
    cut = data.draw(st.integers(0, len(sql)))
    for text in (sql, sql[:cut]):
        assert SECRET not in redact_sql(text)
        assert SECRET not in redact_message(f"duration: 1.2 ms  statement: {text}")
        assert SECRET not in redact_message(f"Process 1: {text}")
    assert SECRET not in redact_message(f'SQL statement "{sql}"\nPL/pgSQL function f() line 3 at SQL statement')


@given(_NOISE, _NOISE, st.integers(0, 200))
def test_a_secret_in_the_value_of_a_message_never_survives(before: str, after: str, cut: int) -> None:
    value = before + SECRET + after
    for form in (
        'invalid input syntax for type integer: "{}"',
        'syntax error at or near "{}"',
        'COPY t, line 1, column a: "{}"',
        "Key (a, b)=({}) already exists.",
        'Key (a)=({}) is not present in table "u".',
        "Failing row contains ({}).",
        "Parameters: $1 = '{}', $2 = NULL",
        'Token "{}" is invalid.',
        "JSON data, line 1: {}",
        'invalid value for parameter "TimeZone": "{}"',
    ):
        whole = form.format(value)
        assert SECRET not in redact_message(whole)
        assert SECRET not in redact_message(whole[:cut] + CUT)
