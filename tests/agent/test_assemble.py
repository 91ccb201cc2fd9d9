"""Promises of assembling: what was collected is spooled in batches a server takes, or its loss is told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent import assemble as module
from agent.assemble import Assembler, Batcher
from agent.outbox import ENOUGH_ROWS, Outbox
from agent.spool import Make, Spool, SpoolError
from agent.spooled import Entry
from contracts import limits
from contracts.batch import Batch, Clock, Config, ConfigState, Frame, Gap, GapReason, Run, Status
from contracts.codec import decode
from tests.agent.polling import until


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 10**9, 3600)
    yield spool
    spool.close()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def losses() -> list[str]:
    return []


@pytest.fixture
def assembler(outbox: Outbox, spool: Spool, losses: list[str]) -> Assembler:
    return Assembler("db-1", outbox, spool, Config, Clock, lambda: losses.append("loss"))


def now() -> int:
    return time.time_ns() // 1000


def run(target: str = "main") -> Run:
    return Run(collector="database", target=target, started_at=now(), duration_us=1, status=Status.OK)


def frame(rows: int, target: str = "main", text: int = 0) -> Frame:
    random = Random(target)
    names = [random.randbytes(text // 2).hex() for _ in range(rows)]
    columns = {"datid": list(range(rows)), "datname": names}
    return Frame(metric="database", target=target, collected_at=now(), columns=columns)


def followed(message: str) -> Frame:
    columns = {"file_id": ["f"], "position": [1], "logged_at": [now()], "severity": ["LOG"], "message": [message]}
    return Frame(metric="log_event", target="main", collected_at=now(), columns=columns)


def spooled(spool: Spool) -> list[Batch]:
    return [decode(entry.path.read_bytes()) for entry in spool.entries()]


def test_what_was_collected_becomes_one_batch_at_the_streams_next_place(
    assembler: Assembler, outbox: Outbox, spool: Spool
) -> None:
    outbox.put(run(), frame(3), ("main", "mark"))
    assembler.close_batch()
    outbox.put(run())
    assembler.close_batch()
    first, second = spooled(spool)
    assert (first.agent_id, first.stream_id, first.seq, second.seq) == ("db-1", spool.stream_id, 0, 1)
    assert first.frames[0].rows == 3
    assert len(first.runs) == len(second.runs) == 1
    assert spool.marks == {"main": "mark"}


def test_nothing_collected_is_no_batch(assembler: Assembler, spool: Spool) -> None:
    assembler.close_batch()
    assert spooled(spool) == []


def test_what_became_of_a_document_is_told_once_even_where_nothing_was_collected(outbox: Outbox, spool: Spool) -> None:
    config = Config(version=1, etag="a", state=ConfigState.APPLIED)
    assembler = Assembler("db-1", outbox, spool, lambda: config, Clock, lambda: None)
    assembler.close_batch()
    assert spooled(spool) == []
    config = Config(version=1, etag="b", state=ConfigState.REJECTED, reason="preset: there is no such one")
    assembler.close_batch()
    assembler.close_batch()
    (told,) = spooled(spool)
    assert (told.config, told.runs) == (config, ())


def sizes(batch: Batch) -> tuple[int, int]:
    return len(batch.frames), len(batch.runs)


def test_a_batch_that_is_too_large_goes_in_two_the_marks_with_the_second(
    assembler: Assembler, outbox: Outbox, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_COMPRESSED_BYTES", 50_000)
    for number in range(4):
        outbox.put(run(f"t{number}"), frame(200, f"t{number}", text=150), ("main", f"mark {number}"))
    gap = Gap(reason=GapReason.MISSED, from_at=1, until_at=2)
    outbox.put_gap(gap)
    marks = []
    real = spool.put

    def put(*arguments: object) -> object:
        entry = real(*arguments)  # type: ignore[arg-type]
        marks.append(dict(spool.marks))
        return entry

    monkeypatch.setattr(spool, "put", put)
    assembler.close_batch()
    batches = spooled(spool)
    assert len(batches) == 2
    assert [one.target for batch in batches for one in batch.frames] == ["t0", "t1", "t2", "t3"]
    assert [one.target for batch in batches for one in batch.runs] == ["t0", "t1", "t2", "t3"]
    assert [batch.gaps for batch in batches] == [(gap,), ()]
    assert marks == [{}, {"main": "mark 3"}]


def test_a_batch_that_is_too_large_once_inflated_goes_in_two(
    assembler: Assembler, outbox: Outbox, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_INFLATED_BYTES", 12_000)
    for number in range(2):
        outbox.put(run(), frame(1_000, f"t{number}"))
    assembler.close_batch()
    assert [sizes(batch) for batch in spooled(spool)] == [(1, 1), (1, 1)]


def test_a_batch_has_no_more_rows_and_runs_than_a_server_takes(
    assembler: Assembler, outbox: Outbox, spool: Spool
) -> None:
    half = limits.MAX_ROWS // 2 + 1
    for number in range(2):
        outbox.put(run(), frame(half, f"t{number}"))
    one = run()
    for _ in range(limits.MAX_RUNS):
        outbox.put(one)
    assembler.close_batch()
    batches = spooled(spool)  # decode refuses what the server refuses
    assert sum(len(batch.runs) for batch in batches) == limits.MAX_RUNS + 2
    assert sum(batch.rows for batch in batches) == 2 * half


def test_a_loss_is_told_by_the_next_batch_and_everything_is_read_anew(
    assembler: Assembler, outbox: Outbox, spool: Spool, losses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = now()
    told = Gap(reason=GapReason.MISSED, from_at=1, until_at=2)
    outbox.put(run(), frame(1), ("main", "lost"))
    outbox.put_gap(told)
    with monkeypatch.context() as patch:
        patch.setattr("agent.spool.write", full)
        assembler.close_batch()
    assert losses == ["loss"]
    assert spooled(spool) == []
    outbox.put(run())
    assembler.close_batch()
    (batch,) = spooled(spool)
    assert batch.seq == 0
    gap, passed_on = batch.gaps
    assert (gap.reason, gap.batches) == (GapReason.DISK_FULL, 1)
    assert "No space left on device" in (gap.detail or "")
    assert before <= gap.from_at <= gap.until_at
    assert passed_on == told
    assert len(losses) == 2


def test_a_frame_that_cannot_be_encoded_costs_its_batch_and_not_the_agent(
    assembler: Assembler, outbox: Outbox, spool: Spool, losses: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    columns = {"datid": [1], "datname": ["\ud800"]}
    outbox.put(run(), Frame.model_construct(metric="database", target="main", collected_at=now(), columns=columns))  # type: ignore[arg-type]
    assembler.close_batch()
    outbox.put(run())
    assembler.close_batch()
    (batch,) = spooled(spool)
    assert [gap.reason for gap in batch.gaps] == [GapReason.CORRUPT]
    assert losses


def test_what_the_spool_dropped_is_told_and_everything_is_read_anew(
    outbox: Outbox, losses: list[str], tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "small", 3_000, 3600)
    assembler = Assembler("db-1", outbox, spool, Config, Clock, lambda: losses.append("loss"))
    for _ in range(2):
        outbox.put(run(), frame(20, text=150))
        assembler.close_batch()
    (batch,) = spooled(spool)
    assert [(gap.reason, gap.batches) for gap in batch.gaps] == [(GapReason.SPOOL_FULL, 1)]
    assert losses == ["loss"]
    spool.close()


def test_a_batch_is_closed_early_when_there_is_enough_for_one(
    assembler: Assembler, outbox: Outbox, spool: Spool
) -> None:
    batcher = Batcher(assembler, outbox, lambda: 3600.0)
    batcher.start()
    outbox.put(run(), frame(ENOUGH_ROWS))
    until(spool.entries)
    outbox.put(run("last"))
    batcher.stop()
    assert not batcher.is_alive()
    assert [one.target for batch in spooled(spool) for one in batch.runs] == ["main", "last"]


def test_after_a_loss_what_was_read_of_logs_behind_it_goes_too_as_it_is_read_again(
    assembler: Assembler, outbox: Outbox, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = outbox.losses
    outbox.put(run(), followed("lost"), ("main", "1"), before)
    taken = outbox.take()
    outbox.put(run(), followed("behind it"), ("main", "2"), before)
    outbox.put(run(), frame(1))
    with monkeypatch.context() as patch:
        patch.setattr("agent.spool.write", full)
        assembler._put(taken)
    outbox.put(run(), followed("read meanwhile"), ("main", "3"), before)
    assert outbox.losses == before + 1
    assembler.close_batch()
    (batch,) = spooled(spool)
    assert [each.metric for each in batch.frames] == ["database"]
    assert len(batch.runs) == 3
    assert spool.marks == {}
    outbox.put(run(), frame(1), ("main", "again"), outbox.losses)
    assembler.close_batch()
    assert spool.marks == {"main": "again"}


@pytest.mark.parametrize("lost", [0, 1])
def test_of_a_batch_in_two_the_log_goes_with_the_marks_or_not_at_all(
    assembler: Assembler, outbox: Outbox, spool: Spool, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    monkeypatch.setattr(module, "MAX_INFLATED_BYTES", 6_000)
    outbox.put(run(), followed("a line"), ("main", "mark"), outbox.losses)
    outbox.put(run(), frame(1_000))
    real, puts = spool.put, iter(range(9))

    def put(make: Make, closed_at: int, marks: Mapping[str, str]) -> Entry:
        def counting(*place: Any) -> bytes:
            data = make(*place)
            if next(puts) == lost:
                raise SpoolError("No space left on device")
            return data

        return real(counting, closed_at, marks)

    monkeypatch.setattr(spool, "put", put)
    assembler.close_batch()
    (batch,) = spooled(spool)
    assert [each.metric for each in batch.frames] == ([] if lost == 0 else ["database"])
    assert spool.marks == {}
    assert outbox.losses == 1
