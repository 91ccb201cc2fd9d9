"""Covered and uncovered stretches are the whole of the time, and nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.query.stretches import MAX_REASONS, Known, Reason, Stretch, clip, holes, merged, reach, reasons, share

T0 = datetime(2026, 3, 29, tzinfo=UTC)
NOWHERE = Known(T0 - timedelta(days=1), T0 + timedelta(days=9))


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def stretch(from_seconds: float, to_seconds: float) -> Stretch:
    return Stretch(at(from_seconds), at(to_seconds))


DAY = stretch(0, 86_400)

seconds = st.integers(-5_000, 91_400)
stretches = st.lists(
    st.builds(lambda one, other: stretch(min(one, other), max(one, other)), seconds, seconds), max_size=12
)
evidence = st.lists(
    st.builds(
        lambda one, other, reason: Reason(at(min(one, other)), at(max(one, other)), reason),
        seconds,
        seconds,
        st.sampled_from(["gap", "missing", "unreachable"]),
    ),
    max_size=12,
)


@given(stretches)
@settings(max_examples=300, deadline=None)
def test_covered_and_uncovered_partition_the_time(islands: list[Stretch]) -> None:
    covered = clip(DAY, merged(islands))
    long = [each for each in covered if each.from_at < each.to_at]
    both = sorted([*long, *holes(DAY, covered)], key=lambda each: each.from_at)
    assert both[0].from_at == DAY.from_at
    assert both[-1].to_at == DAY.to_at
    assert all(each.from_at < each.to_at for each in both)
    assert [each.to_at for each in both[:-1]] == [each.from_at for each in both[1:]]
    total = sum((each.to_at - each.from_at).total_seconds() for each in covered)
    assert abs(share(DAY, covered) - total / 86_400) < 1e-9


@given(stretches)
@settings(max_examples=200, deadline=None)
def test_merged_stretches_hold_the_same_instants_and_are_apart(given_: list[Stretch]) -> None:
    found = merged(given_)
    assert all(one.to_at < other.from_at for one, other in pairwise(found))
    for second in range(-5_000, 91_400, 977):
        inside = [any(each.from_at <= at(second) <= each.to_at for each in some) for some in (given_, found)]
        assert inside[0] == inside[1]


@given(stretches, evidence)
@settings(max_examples=200, deadline=None)
def test_every_hole_has_a_reason_within_it(islands: list[Stretch], told: list[Reason]) -> None:
    for hole in holes(DAY, clip(DAY, merged(islands))):
        found = reasons(hole, told, NOWHERE, DAY, reach(60))
        assert 0 < len(found) <= 2 * MAX_REASONS + 1
        assert all(hole.from_at <= each.from_at <= each.to_at <= hole.to_at for each in found)


def test_a_reading_alone_covers_nothing_and_parts_two_holes() -> None:
    alone = clip(DAY, [stretch(100, 100)])
    assert share(DAY, alone) == 0
    assert holes(DAY, alone) == [stretch(0, 100), stretch(100, 86_400)]


def test_readings_may_be_three_intervals_apart_and_never_less_than_three_minutes() -> None:
    assert [reach(every).total_seconds() for every in (1, 60, 61, 300)] == [180, 180, 183, 900]


def test_what_nobody_tells_of_follows_from_its_place() -> None:
    known = Known(at(1_000), at(50_000))

    def reason(from_seconds: float, to_seconds: float, known: Known = known) -> list[str]:
        return [each.reason for each in reasons(stretch(from_seconds, to_seconds), [], known, DAY, reach(60))]

    assert reason(0, 1_000) == ["before_first"]
    assert reason(50_000, 86_400) == ["after_last"]
    assert reason(2_000, 3_000) == ["not_running"]
    assert reason(50_000, 86_400, NOWHERE) == ["not_running"]
    assert reason(0, 1_000, NOWHERE) == ["not_running"]


def test_the_rest_of_a_hole_beside_its_evidence_is_named_too() -> None:
    failed = Reason(at(2_001), at(2_001), "unreachable", "refused")
    found = reasons(stretch(2_000, 9_000), [failed], NOWHERE, DAY, reach(60))
    assert found == [failed, Reason(at(2_181), at(9_000), "not_running")]


def test_evidence_of_another_time_is_not_told() -> None:
    gaps = [Reason(at(0), at(100), "gap"), Reason(at(9_000), at(9_100), "gap")]
    assert [each.reason for each in reasons(stretch(200, 9_000), gaps, NOWHERE, DAY, reach(60))] == ["not_running"]


def test_one_reason_told_often_is_told_once() -> None:
    gaps = [Reason(at(second), at(second + 50), "gap", "missed") for second in range(0, 3_000, 100)]
    assert reasons(stretch(10, 3_000), gaps, NOWHERE, DAY, reach(60)) == [
        Reason(at(10), at(2_950), "gap", "missed"),
    ]


def test_reasons_have_a_bound() -> None:
    gaps = [Reason(at(0), at(3_000), "gap", f"detail {number}") for number in range(100)]
    assert len(reasons(stretch(0, 3_000), gaps, NOWHERE, DAY, reach(60))) == MAX_REASONS
