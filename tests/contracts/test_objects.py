"""An object's key says which batch lies there, and only our own keys are read."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.batch import Batch
from contracts.codec import decode, encode, sha256
from contracts.limits import INSTANT_MAX
from contracts.objects import PREFIX, BatchKey, agent_of, agent_prefix, day_of, key_of, parse_key
from tests.contracts import examples
from tests.contracts.strategies import batches, names, seqs, stream_ids

KEY = "batches/v1/agent=db-117/dt=2025-10-09/3f2a5f64-5717-4562-b3fc-2c963f66afa6-000000000007-0123456789abcdef.json.gz"

keys = st.builds(
    BatchKey,
    agent_id=names,
    day=st.dates().map(str),
    stream_id=stream_ids,
    seq=seqs,
    sha256_start=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
)


@given(keys)
@settings(max_examples=200, deadline=None)
def test_a_key_is_read_back_as_it_was_written(key: BatchKey) -> None:
    assert parse_key(str(key)) == key


@given(batches)
@settings(max_examples=60, deadline=None)
def test_every_batch_has_a_key_under_its_agents_prefix(batch: Batch) -> None:
    key = key_of(batch, sha256(encode(batch)))
    assert str(key).startswith(agent_prefix(batch.agent_id))
    assert parse_key(str(key)) == key


@given(keys)
@settings(max_examples=100, deadline=None)
def test_the_folders_of_a_key_say_its_agent_and_its_day(key: BatchKey) -> None:
    folder = str(key).rpartition("/")[0] + "/"
    assert str(day_of(folder)) == key.day
    assert agent_of(agent_prefix(key.agent_id)) == key.agent_id


@pytest.mark.parametrize("prefix", ["", PREFIX, "batches/v1/agent=/", "batches/v1/agent=A/", "batches/v1/agent=a"])
def test_what_is_no_agents_is_told(prefix: str) -> None:
    assert agent_of(prefix) is None


@pytest.mark.parametrize("day", ["2026-02-30", "2026-1-1", "", "2026-01-01/more"])
def test_what_is_no_days_is_told(day: str) -> None:
    assert day_of(f"{agent_prefix('a')}dt={day}/") is None


def test_a_key_says_agent_day_stream_place_and_content() -> None:
    key = key_of(Batch.model_validate(examples.batch()), "0123456789abcdef" * 4)
    assert str(key) == KEY
    assert key == BatchKey("db-117", "2025-10-09", UUID("3f2a5f64-5717-4562-b3fc-2c963f66afa6"), 7, "0123456789abcdef")
    assert key.id == "3f2a5f64-5717-4562-b3fc-2c963f66afa6-000000000007"


def test_a_stream_has_one_name_however_it_is_written() -> None:
    stream = examples.batch()["stream_id"]
    for form in (stream.upper(), stream.replace("-", ""), f"urn:uuid:{stream}", f"{{{stream}}}"):
        batch = decode(examples.gzipped(examples.batch(stream_id=form)))
        assert str(key_of(batch, "0" * 64).stream_id) == stream


@pytest.mark.parametrize(
    ("sent_at", "day"),
    [
        (0, "1970-01-01"),
        (86_399_999_999, "1970-01-01"),
        (86_400_000_000, "1970-01-02"),
        (INSTANT_MAX, "9999-12-31"),
    ],
)
def test_the_day_is_that_of_utc(sent_at: int, day: str) -> None:
    assert key_of(Batch.model_validate(examples.batch(sent_at=sent_at)), "0" * 64).day == day


def test_keys_of_a_stream_sort_in_the_order_of_their_places() -> None:
    found = [str(BatchKey("a", "2025-10-09", UUID(int=1), seq, "0" * 16)) for seq in (0, 9, 10, 99, 10**12 - 1)]
    assert sorted(found) == found


@given(names, names)
@settings(max_examples=100, deadline=None)
def test_no_agent_has_another_agents_prefix(one: str, other: str) -> None:
    assert agent_prefix(one).startswith(PREFIX)
    assert agent_prefix(other).startswith(agent_prefix(one)) == (one == other)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("batches/v1/", "batches/v2/"),
        ("batches/v1/", "/batches/v1/"),
        ("batches/v1/", "x/batches/v1/"),
        ("db-117", ""),
        ("db-117", "DB-117"),
        ("db-117", "../db"),
        ("db-117", "a/b"),
        ("db-117", "-a"),
        ("db-117", "a" * 65),
        ("2025-10-09", "2025-10-9"),
        ("2025-10-09", "\u0662\u0660\u0662\u0665-\u0661\u0660-\u0660\u0669"),
        ("000000000007", "7"),
        ("000000000007", "0000000000007"),
        ("000000000007", "00000000000\u0667"),
        ("000000000007", "-00000000007"),
        ("3f2a5f64", "3F2A5F64"),
        ("3f2a5f64-5717", "3f2a5f645717"),
        ("0123456789abcdef", "0123456789abcde"),
        ("0123456789abcdef", "0123456789ABCDEF"),
        (".json.gz", ".json"),
        (".json.gz", ".json.gz\n"),
        (".json.gz", ".json.gz/"),
        (".json.gz", "xjson.gz"),
    ],
)
def test_a_foreign_key_is_refused(part: str, instead: str) -> None:
    assert part in KEY
    with pytest.raises(ValueError, match="not the key of a batch"):
        parse_key(KEY.replace(part, instead))


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused(garbage: str) -> None:
    for key in (garbage, PREFIX + garbage, KEY[:-5] + garbage):
        if key != KEY:
            with pytest.raises(ValueError, match="not the key of a batch"):
                parse_key(key)


def test_a_long_foreign_key_is_not_repeated_whole() -> None:
    with pytest.raises(ValueError, match="not the key of a batch") as refused:
        parse_key("x" * 5000)
    assert len(str(refused.value)) < 400
