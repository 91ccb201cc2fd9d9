"""Promises of the sieve: what is severe enough goes through, so much in a minute, and what did not is counted."""

from __future__ import annotations

import pytest

from agent.collectors.values import Rows
from agent.logs.entry import SEVERITIES as WRITTEN
from agent.logs.sieve import Sieve
from contracts.document import SEVERITIES, LogSettings
from contracts.metrics import LOG_EVENT

SEVERITY = LOG_EVENT.names.index("severity")


def rows(*severities: str | None) -> Rows:
    return [tuple(severity if place == SEVERITY else place for place in range(17)) for severity in severities]


def severities(found: Rows) -> list[object]:
    return [row[SEVERITY] for row in found]


def test_what_is_not_said_lets_everything_through() -> None:
    everything = rows(*WRITTEN, None, "FEHLER")
    assert Sieve().sift(everything, LogSettings(), 0) == (everything, 0)


def test_every_severity_that_is_written_has_its_word() -> None:
    assert {name.lower().rstrip("12345") for name in WRITTEN} == set(SEVERITIES)


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        ("log", [name for name in WRITTEN if not name.startswith("DEBUG")]),
        ("warning", ["WARNING", "ERROR", "FATAL", "PANIC"]),
        ("panic", ["PANIC"]),
    ],
)
def test_only_what_is_severe_enough_goes_through(least: str, expected: list[str]) -> None:
    sifted = Sieve().sift(rows(*WRITTEN), LogSettings(least_severity=least), 0)
    assert (severities(sifted.rows), sifted.beyond) == (expected, 0)


@pytest.mark.parametrize("unknown", [None, "FEHLER"])
def test_what_is_of_no_known_severity_always_goes_through(unknown: str | None) -> None:
    assert Sieve().sift(rows(unknown), LogSettings(least_severity="panic"), 0).rows == rows(unknown)


def test_so_many_go_through_in_a_minute_and_the_others_are_counted() -> None:
    sieve, most = Sieve(), LogSettings(at_most_per_minute=5, least_severity="log")
    many = rows(*["LOG"] * 3, "DEBUG1")
    passed = [(len(found.rows), found.beyond) for found in (sieve.sift(many, most, at) for at in (1000, 1010, 1059.9))]
    assert passed == [(3, 0), (2, 1), (0, 3)]
    assert len(sieve.sift(many, most, 1060).rows) == 3


def test_another_bound_holds_at_once() -> None:
    sieve, many = Sieve(), rows(*["LOG"] * 9)
    bounds = [5, 7, None, 5]
    found = [sieve.sift(many, LogSettings(at_most_per_minute=most), 1000) for most in bounds]
    assert [(len(each.rows), each.beyond) for each in found] == [(5, 4), (7, 2), (9, 0), (5, 4)]
