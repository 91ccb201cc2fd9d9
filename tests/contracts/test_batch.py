"""A batch means what the catalogue says: valid ones survive the wire unchanged, each fault is refused by its place."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.batch import Batch, Frame
from contracts.codec import BatchInvalidError, decode, encode, explain, sha256
from contracts.limits import MAX_ROWS, MAX_RUNS
from contracts.metrics import METRICS, Metric
from tests.contracts import examples
from tests.contracts.examples import FAULTS, VALID, Fault, gzipped
from tests.contracts.strategies import batches, frames


@given(batches)
@settings(max_examples=120, deadline=None)
def test_a_batch_survives_the_wire(batch: Batch) -> None:
    assert decode(encode(batch)) == batch


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_frames_of_every_metric_survive_the_wire(metric: Metric, data: st.DataObject) -> None:
    frame = data.draw(frames(st.just(metric)))
    batch = Batch.model_validate(examples.batch(frame.model_dump()))
    (found,) = decode(encode(batch)).frames
    assert found == frame
    # 1 == 1.0 == True to Python; not so on the wire.
    assert [[type(value) for value in values] for values in found.columns.values()] == [
        [type(value) for value in values] for values in frame.columns.values()
    ]


@given(batches)
@settings(max_examples=40, deadline=None)
def test_identical_batches_give_identical_bytes(batch: Batch) -> None:
    again = Batch.model_validate(batch.model_dump(by_alias=True))
    assert encode(again) == encode(batch)
    assert sha256(encode(decode(encode(batch)))) == sha256(encode(batch))


def test_a_null_stays_a_null() -> None:
    frame = decode(gzipped(VALID)).frames[0]
    assert frame.columns["xact_commit"] == [None, 12]


def test_the_parts_that_have_defaults_may_be_left_out() -> None:
    document = examples.batch()
    del document["frames"]
    batch = decode(gzipped(document))
    assert (batch.frames, batch.runs, batch.gaps) == ((), (), ())
    assert batch.config.version == 0
    assert batch.clock.skew_us is None


def test_rows_count_what_is_there_and_what_is_gone() -> None:
    batch = decode(gzipped(VALID))
    assert [(frame.rows, frame.gone_rows) for frame in batch.frames] == [(2, 1), (1, 0), (2, 0), (1, 0)]
    assert batch.rows == 7


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_refused_by_its_place(fault: Fault) -> None:
    with pytest.raises(BatchInvalidError) as refused:
        decode(gzipped(fault.document))
    assert str(refused.value).startswith(fault.message)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_what_json_cannot_say_never_becomes_a_frame(value: float) -> None:
    with pytest.raises(ValidationError, match=r"columns\.load_1m\[0\]: not a finite number"):
        Frame.model_validate(examples.host({"load_1m": [value]}))


def test_text_that_utf8_cannot_hold_never_becomes_a_frame() -> None:
    with pytest.raises(ValidationError, match=r"columns\.owner\[1\]: text that is not Unicode"):
        Frame.model_validate(examples.relation({"relid": [1, 2], "owner": [None, "\udc80"]}))


@pytest.mark.parametrize("number", [b"1e400", b"-1e400"])
def test_a_number_too_large_for_a_float_is_refused(number: bytes) -> None:
    content = json.dumps(examples.batch(examples.host({"load_1m": [0.125]}))).encode().replace(b"0.125", number)
    with pytest.raises(BatchInvalidError, match=r"frames\[0\]: columns\.load_1m\[0\]: not a finite number"):
        decode(gzipped(content))


def test_a_batch_may_have_as_many_rows_as_the_limit() -> None:
    half = MAX_ROWS // 2
    frame = examples.frame({"datid": list(range(half))}, mode="changed", gone={"datid": list(range(half))})
    assert decode(gzipped(examples.batch(frame))).rows == MAX_ROWS


def test_one_row_more_than_the_limit_is_refused() -> None:
    half = MAX_ROWS // 2
    frame = examples.frame({"datid": list(range(half))}, mode="changed", gone={"datid": list(range(half + 1))})
    with pytest.raises(BatchInvalidError, match="frames: 200001 rows, more than 200000"):
        decode(gzipped(examples.batch(frame)))


@pytest.mark.parametrize(
    ("part", "element"),
    [("frames", examples.host({"load_1m": []})), ("runs", examples.run()), ("gaps", examples.gap())],
    ids=["frames", "runs", "gaps"],
)
def test_more_parts_than_the_limit_are_refused(part: str, element: dict[str, Any]) -> None:
    with pytest.raises(BatchInvalidError, match=f"^{part}: "):
        decode(gzipped(examples.batch(**{part: [element] * (MAX_RUNS + 1)})))


@pytest.mark.parametrize(
    "document",
    [
        examples.batch(**{"a\0b": 1}),
        examples.batch(**{"long" * 10_000: 1}),
        examples.batch(examples.host({"a\0b\r\n": [1]})),
        examples.batch(examples.host({"load_1m": [1], "long" * 10_000: [1]})),
        examples.batch(examples.host({"threads": [10**4000]})),
    ],
    ids=["NUL in a field", "long field", "NUL in a column", "long column", "long number"],
)
def test_a_refusal_is_short_and_can_be_stored(document: dict[str, Any]) -> None:
    with pytest.raises(BatchInvalidError) as refused:
        decode(gzipped(document))
    assert len(str(refused.value)) <= 600
    assert str(refused.value).isprintable()


def test_a_refusal_tells_how_many_more_faults_there_are() -> None:
    with pytest.raises(ValidationError) as refused:
        Batch.model_validate(examples.batch(seq=-1, sent_at=-1, agent_id="?"))
    assert explain(refused.value).endswith("(and 2 more)")


def test_a_frame_cannot_be_altered() -> None:
    frame = decode(gzipped(VALID)).frames[0]
    with pytest.raises(ValidationError, match="frozen"):
        frame.datid = 1  # type: ignore[misc]
