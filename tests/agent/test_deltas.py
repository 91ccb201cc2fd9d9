"""Deltas from changed frames are those from full readings, whatever becomes of rows, epochs and readings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.changes import Changes, Difference
from agent.lines import ShapeError
from contracts.batch import Columns, Frame, Mode
from contracts.metrics import INDEX_STATS, Metric, Scope, Type
from contracts.metrics.model import counter, gauge, label

METRIC = Metric(
    "of_a_test",
    Scope.DATABASE,
    "A key of two columns, a counter, a gauge.",
    ("relid", "name"),
    (label("relid", "Oid.", type=Type.OID), label("name", "Text."), counter("calls", "N."), gauge("rows", "N.")),
    60,
    changes=True,
)

Key = tuple[int, str]
Values = tuple[int | None, int | None]
Deltas = dict[tuple[Key, int], int]


@dataclass(frozen=True)
class Reading:
    """What a database held at one moment; `now` in seconds."""

    datid: int
    now: float
    epoch: int
    rows: dict[Key, Values]

    def lines(self) -> list[bytes]:
        return [_line(*key, *values) for key, values in self.rows.items()]


def _line(*values: object) -> bytes:
    return b"\t".join(b"\\N" if value is None else _escaped(str(value)).encode() for value in values)


def _escaped(text: str) -> str:
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n")):
        text = text.replace(character, escape)
    return text


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """Readings of two databases in which rows appear, change, go and come again, and counters restart."""
    keys = st.tuples(st.integers(1, 3), st.sampled_from(["a", "", "a\tb", "\\N"]))
    numbers = st.none() | st.integers(0, 3)
    now = 0.0
    epochs = {1: 10, 2: 20}
    rows: dict[int, dict[Key, Values]] = {1: {}, 2: {}}
    readings = []
    for _ in range(draw(st.integers(1, 12))):
        datid = draw(st.sampled_from([1, 2]))
        now += draw(st.sampled_from([60, 60, 60, 1800, 3600]))
        if draw(st.integers(0, 7)) == 0:
            epochs[datid] = draw(st.sampled_from([10, 20, 30]))
        changed = draw(st.dictionaries(keys, st.tuples(numbers, numbers), max_size=3))
        gone = draw(st.sets(st.sampled_from(sorted(rows[datid])), max_size=2)) if rows[datid] else set()
        rows[datid] = {key: each for key, each in rows[datid].items() if key not in gone} | changed
        readings.append(Reading(datid, now, epochs[datid], rows[datid]))
    return readings


def _rows(columns: Columns) -> dict[Key, Values]:
    return {(row[0], row[1]): (row[2], row[3]) for row in zip(*columns.values(), strict=True)}


def _keys(columns: Columns | None) -> list[Key]:
    return list(zip(columns["relid"], columns["name"], strict=True)) if columns else []


def _difference(changes: Changes, reading: Reading) -> Difference:
    return changes.difference(METRIC, "main", reading.datid, reading.lines(), reading.epoch, reading.now)


@given(histories())
@settings(max_examples=250, deadline=None)
def test_deltas_from_changed_frames_are_those_from_full_readings(history: list[Reading]) -> None:
    changes = Changes(full_every_seconds=3600)
    frames = [(reading, _difference(changes, reading)) for reading in history]
    for datid in (1, 2):
        of_database = ((reading, found) for reading, found in frames if reading.datid == datid)
        assert _deltas_of_frames(of_database) == _deltas_of_readings([each for each in history if each.datid == datid])


@given(histories())
@settings(max_examples=150, deadline=None)
def test_a_changed_frame_has_no_row_that_did_not_change_and_no_key_that_was_not_there(history: list[Reading]) -> None:
    changes = Changes(full_every_seconds=3600)
    rebuilt: dict[int, dict[Key, Values]] = defaultdict(dict)
    for reading in history:
        found = _difference(changes, reading)
        before = rebuilt[reading.datid] if found.mode is Mode.CHANGED else {}
        gone = _keys(found.gone)
        assert set(gone) <= before.keys()
        assert all(before.get(key) != values for key, values in _rows(found.columns).items())
        rebuilt[reading.datid] = {k: v for k, v in before.items() if k not in gone} | _rows(found.columns)
        assert rebuilt[reading.datid] == reading.rows


def _deltas_of_readings(history: list[Reading]) -> Deltas:
    """What is true: between two readings of one epoch, of each key that both have."""
    deltas: Deltas = defaultdict(int)
    for before, after in pairwise(history):
        if before.epoch == after.epoch:
            for key in before.rows.keys() & after.rows.keys():
                _add(deltas, key, after.epoch, before.rows[key][0], after.rows[key][0])
    return deltas


@dataclass(frozen=True)
class _Stored:
    at: float
    epoch: int
    gone: bool
    calls: int | None


def _deltas_of_frames(frames: Iterator[tuple[Reading, Difference]]) -> Deltas:
    """What the store computes: from each row to the one before it, unless a full frame in between lacks the key."""
    deltas: Deltas = defaultdict(int)
    last: dict[Key, _Stored] = {}
    full_at = float("-inf")
    for reading, found in frames:
        for key, (calls, _) in _rows(found.columns).items():
            before = last.get(key)
            if before and before.epoch == reading.epoch and not before.gone and before.at >= full_at:
                _add(deltas, key, reading.epoch, before.calls, calls)
            last[key] = _Stored(reading.now, reading.epoch, gone=False, calls=calls)
        for key in _keys(found.gone):
            last[key] = _Stored(reading.now, reading.epoch, gone=True, calls=None)
        if found.mode is Mode.FULL:
            full_at = reading.now
    return deltas


def _add(deltas: Deltas, key: Key, epoch: int, before: int | None, after: int | None) -> None:
    # What did not change adds nothing: it is no entry on either side.
    if before is not None and after is not None and after != before:
        deltas[key, epoch] += after - before


BEFORE = Reading(1, 0, 10, {(1, "a"): (5, 1), (2, "b"): (7, 1)})


@pytest.mark.parametrize("faulty", [b"1\ta", b"1\ta\tmany\t1"], ids=["shape", "value"])
def test_a_reading_that_could_not_be_sent_was_not_said(faulty: bytes) -> None:
    changes = Changes()
    for _ in range(2):  # the second time it is no news, and still was not sent
        with pytest.raises((ShapeError, ValueError)):
            changes.difference(METRIC, "main", 1, [faulty], 10, 0)
    assert _difference(changes, BEFORE).mode is Mode.FULL
    with pytest.raises((ShapeError, ValueError)):
        changes.difference(METRIC, "main", 1, [faulty], 10, 60)
    found = _difference(changes, Reading(1, 120, 10, {(1, "a"): (6, 1), (2, "b"): (7, 1)}))
    assert (found.mode, found.gone) == (Mode.CHANGED, None)
    assert _rows(found.columns) == {(1, "a"): (6, 1)}


def test_data_lost_while_a_reading_is_compared_is_not_forgotten() -> None:
    changes = Changes()
    _difference(changes, BEFORE)

    class Losing(list[bytes]):
        """Data is lost after the readings were compared, and before this one is remembered."""

        def __len__(self) -> int:
            changes.forget()
            return super().__len__()

    changes.difference(METRIC, "main", 1, Losing(BEFORE.lines()), 10, 60)
    assert _difference(changes, BEFORE).mode is Mode.FULL


@pytest.mark.parametrize(("now", "mode"), [(3599.9, Mode.CHANGED), (3600.0, Mode.FULL)])
def test_the_hour_counts_from_the_last_full_frame(now: float, mode: Mode) -> None:
    changes = Changes(full_every_seconds=3600)
    _difference(changes, BEFORE)
    _difference(changes, Reading(1, 1800, 10, BEFORE.rows))
    assert _difference(changes, Reading(1, now, 10, BEFORE.rows)).mode is mode


def test_databases_do_not_share_a_reading() -> None:
    changes = Changes()
    _difference(changes, BEFORE)
    assert _difference(changes, Reading(2, 60, 10, BEFORE.rows)).mode is Mode.FULL


def test_differences_are_frames_as_the_contract_has_them() -> None:
    changes = Changes()
    for calls in (1, 2):
        lines = [_line(relid, calls, None, 0, 0, 0, 0) for relid in range(1, 5 - calls)]
        found = changes.difference(INDEX_STATS, "main", 5, lines, 10, 60)
        said = {"mode": found.mode, "columns": found.columns, "gone": found.gone}
        placed = {"metric": "index_stats", "target": "main", "datid": 5, "collected_at": 1, "epoch": 10}
        frame = Frame.model_validate(placed | said)
        assert (frame.rows, frame.gone_rows) == ((3, 0) if calls == 1 else (2, 1))
