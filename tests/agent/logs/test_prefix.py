"""Promises of the stderr form: any prefix is understood, and processes that write between each other's lines."""

from __future__ import annotations

import pytest

from agent.logs.clock import LogClock
from agent.logs.entry import LogEntry, redacted
from agent.logs.errors import LogSettingError
from agent.logs.parser import Dialect, Line
from agent.logs.stderr import StderrParser

AT = 1_767_312_245_678_000  # 2026-01-02 00:04:05.678 UTC


def parsed(prefix: str, *texts: str) -> list[LogEntry]:
    parser = StderrParser(Dialect(prefix))
    for number, text in enumerate(texts):
        parser.feed(Line(number * 100, number * 100 + 100, text))
    parser.rest(over=False)
    found: list[LogEntry] = []
    while (written := parser.take()) is not None:
        found.append(redacted(written))
    return found


@pytest.mark.parametrize(
    ("prefix", "line", "expected"),
    [
        ("%m [%p] ", "2026-01-02 00:04:05.678 UTC [123] LOG:  hello", {"pid": 123, "logged_at_us": AT}),
        ("%t:%r:%u@%d:[%p]: ", "2026-01-02 00:04:05 UTC:10.0.0.1(5432):app@shop:[9]: LOG:  hello",
         {"pid": 9, "user_name": "app", "database_name": "shop", "logged_at_us": AT - 678_000}),
        ("%n [%c] %l %e ", "1767312245.678 [69570a35.7b] 5 42P01 LOG:  hello",
         {"pid": 123, "logged_at_us": AT, "sqlstate": "42P01"}),
        ("%m %-8p %-10u|%10d|%a ", "2026-01-02 00:04:05.678 UTC 123      app       |      shop|my app LOG:  hello",
         {"pid": 123, "user_name": "app", "database_name": "shop", "application_name": "my app"}),
        ("%m [%p] %q%u@%d ", "2026-01-02 00:04:05.678 UTC [123] LOG:  hello", {"pid": 123, "user_name": None}),
        ("%m [%p] %q%u@%d ", "2026-01-02 00:04:05.678 UTC [123] [unknown]@[unknown] LOG:  hello", {"user_name": None}),
        ("%b %P %v %x %i %s %h %L %Q%% ",
         "client backend  3/12 0 idle in transaction 2026-01-02 00:00:00 UTC [local] [local] -77% LOG:  hello",
         {"backend_type": "client backend", "query_id": -77, "logged_at_us": None}),
        ("%a%u %m ", "my appapp 2026-01-02 00:04:05.678 UTC LOG:  hello", {"user_name": None, "logged_at_us": AT}),
        ("", "LOG:  hello", {"pid": None, "logged_at_us": None}),
        ("%m [%p] ", "2026-01-02 00:04:05.678 UTC [123] LOG:  00000: hello", {"sqlstate": "00000"}),
        # Written before the setting changed.
        ("%u@%d ", "2026-01-02 00:04:05.678 UTC [123] LOG:  hello", {"pid": 123, "logged_at_us": AT}),
    ],
)  # fmt: skip
def test_every_escape_of_the_prefix_is_read(prefix: str, line: str, expected: dict[str, object]) -> None:
    (entry,) = parsed(prefix, line)
    assert (entry.severity, entry.message) == ("LOG", "hello")
    assert {name: getattr(entry, name) for name in expected} == expected


def test_lines_of_other_processes_do_not_tear_an_entry() -> None:
    first, second = parsed(
        "%m [%p] ",
        '2026-01-02 00:04:05.678 UTC [1] ERROR:  relation "a" does not exist at character 15',
        "2026-01-02 00:04:05.678 UTC [2] LOG:  duration: 1.234 ms  statement: select 1",
        "\tfrom t",
        "2026-01-02 00:04:05.678 UTC [1] HINT:  Look twice.",
        "2026-01-02 00:04:05.678 UTC [1] STATEMENT:  select *",
        "\tfrom a where b = 'x'",
        "no prefix",
    )
    assert (first.pid, first.message, first.hint) == (1, 'relation "a" does not exist', "Look twice.")
    assert first.statement == "select *\nfrom a where b = ?\nno prefix"
    assert (second.pid, second.position, second.duration_us) == (2, 100, 1234)
    assert second.statement == "select ?\nfrom t"


def test_lines_that_belong_to_nothing_become_one_entry_without_their_text() -> None:
    junk, entry = parsed("%m [%p] ", "of 'secret", "more", "2026-01-02 00:04:05.678 UTC [1] LOG:  hello")
    assert (junk.severity, junk.message, junk.statement) == (None, "?", None)
    assert entry.message == "hello"


def test_a_message_in_another_language_is_not_trusted() -> None:
    (entry,) = parsed("%m [%p] ", "2026-01-02 00:04:05.678 UTC [1] FEHLER:  Wert 42 ist zu lang")
    assert (entry.severity, entry.message, entry.pid, entry.logged_at_us) == (None, "?", 1, AT)


@pytest.mark.parametrize(
    ("zone", "text", "hours"),
    [
        ("Europe/Berlin", "2026-07-01 12:00:00.000 CEST", 10),
        ("Europe/Berlin", "2026-07-01 12:00:00.000 UTC", 12),
        ("America/Sao_Paulo", "2026-07-01 12:00:00.000 -03", 15),
        ("UTC", "2026-07-01 12:00:00.000 +0530", 6.5),
    ],
)
def test_times_are_read_by_the_servers_time_zone(zone: str, text: str, hours: float) -> None:
    at = LogClock(zone).instant_us(text)
    assert at is not None
    assert at % 86_400_000_000 == hours * 3_600_000_000


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    clock = LogClock("Europe/Berlin")
    summer, winter = (clock.instant_us(f"2026-10-25 02:30:00.000 {name}") for name in ("CEST", "CET"))
    assert summer is not None
    assert winter == summer + 3_600_000_000


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(LogSettingError, match="log_timezone 'Mars/Olympus'"):
        LogClock("Mars/Olympus")
