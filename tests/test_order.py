"""The order of the tests."""

from __future__ import annotations

from tests.order import LONGEST, ROOT


def test_every_file_that_begins_first_is_there() -> None:
    assert [file for file in LONGEST if not (ROOT / file).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)
