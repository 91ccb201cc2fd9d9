"""Changed frames carry all that full readings would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.changes import Changes
from agent.lines import columns_of
from contracts.batch import Mode
from contracts.metrics import INDEX_STATS

_READINGS = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 2]), st.dictionaries(st.integers(1, 6), st.integers(0, 3), max_size=6)),
    min_size=1,
    max_size=30,
)


def _line(relid: int, value: int) -> bytes:
    return b"\t".join([b"%d" % relid, b"%d" % value, *[b"\\N"] * (len(INDEX_STATS.columns) - 2)])


@given(_READINGS)
@settings(max_examples=300, deadline=None)
def test_frames_replayed_give_every_reading(readings: list[tuple[int, dict[int, int]]]) -> None:
    changes, state = Changes(full_every_seconds=10), dict[int, int]()
    for second, (epoch, reading) in enumerate(readings):
        lines = [_line(*pair) for pair in reading.items()]
        found = changes.difference(INDEX_STATS, "main", 5, lines, epoch, second)
        if found.mode is Mode.FULL:
            state = {}
        for relid in (found.gone or {}).get("indexrelid", []):
            del state[relid]
        state |= dict(zip(found.columns["indexrelid"], found.columns["idx_scan"], strict=True))
        assert state == reading
        assert found.rows == len(reading)


def test_an_unchanged_row_does_not_travel_and_a_new_epoch_is_full() -> None:
    changes, lines = Changes(), [_line(1, 1), _line(2, 2)]
    modes = [
        (found.mode, len(found.columns["indexrelid"]))
        for epoch, at in [(1, 0), (1, 60), (2, 120), (2, 180), (2, 3720)]
        for found in [changes.difference(INDEX_STATS, "main", 5, lines, epoch, at)]
    ]
    assert modes == [(Mode.FULL, 2), (Mode.CHANGED, 0), (Mode.FULL, 2), (Mode.CHANGED, 0), (Mode.FULL, 2)]


def test_after_lost_data_the_next_frame_is_full() -> None:
    changes, lines = Changes(), [_line(1, 1)]
    changes.difference(INDEX_STATS, "main", 5, lines, 1, 0)
    changes.forget()
    assert changes.difference(INDEX_STATS, "main", 5, lines, 1, 60).columns == columns_of(INDEX_STATS, lines)
