"""Promises of the sender: oldest first, patient, never stuck, and what is refused goes aside once."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import sender as module
from agent.assemble import Assembler
from agent.outbox import Outbox
from agent.sender import Sender
from agent.spool import Spool
from agent.spooled import Entry
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Outcome, Rejected, Upload
from contracts.batch import Clock, Config, Gap, GapReason
from contracts.codec import decode, inflate
from contracts.limits import MAX_COMPRESSED_BYTES
from tests.agent.conftest import TOKEN
from tests.agent.door import Answer, Asked, Door, problem
from tests.agent.polling import until


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 10**9, 3600)
    yield spool
    spool.close()


def put(spool: Spool, content: bytes) -> Entry:
    return spool.put(lambda *_: gzip.compress(content), time.time_ns() // 1000, {})


class Script:
    """A transport that answers as written, and then takes everything."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[bytes] = []
        self.skew_us = None

    def send(self, upload: Upload) -> Outcome:
        self.sent.append(inflate(upload.data))
        return self.outcomes.pop(0) if self.outcomes else Delivered()


def test_what_is_delivered_leaves_the_spool_oldest_first(spool: Spool, client: ServerClient, open_door: Door) -> None:
    for number in range(5):
        put(spool, b"%d" % number)
    sender = Sender(spool, client, lambda: None)
    sender.start()
    until(lambda: not spool.entries())
    put(spool, b"5")
    until(lambda: not spool.entries())
    sender.stop()
    assert [inflate(asked.body) for asked in open_door.asked] == [b"%d" % number for number in range(6)]
    assert not sender.is_alive()


def test_a_batch_is_sent_again_until_it_is_taken(
    spool: Spool, client: ServerClient, open_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.001)
    answers = [Answer(503), Answer(401), Answer(500)]
    open_door.answer = lambda _: answers.pop() if answers else Answer(202)
    put(spool, b"first")
    put(spool, b"second")
    sender = Sender(spool, client, lambda: None)
    sender.start()
    until(lambda: not spool.entries())
    sender.stop()
    assert [inflate(asked.body) for asked in open_door.asked] == [b"first"] * 4 + [b"second"]


def test_a_refused_batch_goes_aside_with_the_answer_and_the_next_one_goes_on(
    spool: Spool, client: ServerClient, open_door: Door, tmp_path: Path
) -> None:
    def answer(asked: Asked) -> Answer:
        return problem(422, "frames: no") if inflate(asked.body) == b"bad" else Answer(202)

    open_door.answer = answer
    bad = put(spool, b"bad")
    put(spool, b"good")
    told: list[str] = []
    sender = Sender(spool, client, lambda: told.append("rejected"))
    sender.start()
    until(lambda: not spool.entries())
    sender.stop()
    assert [inflate(asked.body) for asked in open_door.asked] == [b"bad", b"good"]
    aside = tmp_path / "spool" / "rejected"
    assert inflate((aside / bad.path.name).read_bytes()) == b"bad"
    (beside,) = aside.glob("*.answer.json")
    assert json.loads(beside.read_bytes()) == {"reason": "rejected", "status": 422, "detail": "frames: no"}
    assert [gap.reason for gap in spool._state.gaps] == [GapReason.REJECTED]
    assert told == ["rejected"]


def test_pauses_grow_with_full_jitter_up_to_a_bound_and_begin_anew_after_success(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        ceilings.append(high)
        return high

    monkeypatch.setattr(module.random, "uniform", uniform)  # type: ignore[attr-defined]
    entry = put(spool, b"x")
    sender = Sender(spool, Script(*[Later("away")] * 12, Delivered(), Later("away")), lambda: None)
    pauses = [sender.send(entry) for _ in range(12)]
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert sender.send(entry) == 0
    assert sender.send(put(spool, b"y")) == 2


def test_the_time_that_the_server_asks_for_is_waited_at_least(spool: Spool) -> None:
    sender = Sender(spool, Script(Later("busy", 60.0)), lambda: None)
    assert 60 <= sender.send(put(spool, b"x")) <= 62


def test_a_batch_dropped_to_make_room_in_the_meantime_stops_nothing(spool: Spool) -> None:
    transport = Script()
    entry = put(spool, b"x")
    entry.path.unlink()
    assert Sender(spool, transport, lambda: None).send(entry) == 0
    assert transport.sent == []


def test_a_disk_that_fails_does_not_end_the_sender(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.001)
    failures = iter([OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
    put_aside = spool.put_aside

    def failing(*arguments: Any) -> None:
        for error in failures:
            raise error
        put_aside(*arguments)

    monkeypatch.setattr(spool, "put_aside", failing)
    put(spool, b"bad")
    put(spool, b"good")
    transport = Script(*[Rejected(422, "no")] * 3)
    sender = Sender(spool, transport, lambda: None)
    sender.start()
    until(lambda: not spool.entries())
    sender.stop()
    assert transport.sent == [b"bad", b"bad", b"bad", b"good"]


def test_a_token_that_cannot_be_used_does_not_end_the_sender_and_is_not_logged(
    spool: Spool,
    client: ServerClient,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.001)
    token_file.write_text(f"{TOKEN}\nx\n")
    put(spool, b"x")
    sender = Sender(spool, client, lambda: None)
    sender.start()
    until(lambda: "not delivered" in caplog.text)
    token_file.write_text(TOKEN)
    until(lambda: not spool.entries())
    sender.stop()
    assert TOKEN not in caplog.text


def test_the_end_does_not_wait_for_a_pause(spool: Spool) -> None:
    transport = Script(Later("away", 3600.0))
    put(spool, b"x")
    sender = Sender(spool, transport, lambda: None)
    sender.start()
    until(lambda: transport.sent)
    sender.stop()
    assert not sender.is_alive()
    assert len(spool.entries()) == 1


def cut(data: bytes) -> bytes:
    return data[:-9]


def flipped(data: bytes) -> bytes:
    return data[:15] + bytes([data[15] ^ 4]) + data[16:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda data: data + b"\0", lambda _: b"\0" * 4096])
def test_what_the_disk_did_not_keep_is_set_aside_and_told_and_the_next_one_goes_on(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    spool = Spool(tmp_path / "spool", 10**9, 3600)
    bad = put(spool, b"a batch that the disk did not keep")
    put(spool, b"good")
    spool.close()
    bad.path.write_bytes(damage(bad.path.read_bytes()))
    again, transport, told = Spool(tmp_path / "spool", 10**9, 3600), Script(), []
    sender = Sender(again, transport, lambda: told.append("lost"))
    sender.start()
    until(lambda: not again.entries())
    sender.stop()
    assert transport.sent == [b"good"]
    (gap,) = again._state.gaps
    assert (gap.reason, gap.batches, gap.from_at, gap.until_at) == (GapReason.CORRUPT, 1, bad.closed_at, bad.closed_at)
    assert (tmp_path / "spool" / "rejected" / bad.path.name).exists()
    (beside,) = (tmp_path / "spool" / "rejected").glob("*.answer.json")
    assert json.loads(beside.read_bytes()) == {"reason": "corrupt", "detail": gap.detail}
    assert told == ["lost"]
    again.close()


def test_what_the_disk_cannot_read_holds_nothing_up(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = put(spool, b"on a bad sector")
    put(spool, b"good")
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path == bad.path:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    transport = Script()
    sender = Sender(spool, transport, lambda: None)
    sender.start()
    until(lambda: not spool.entries())
    sender.stop()
    assert transport.sent == [b"good"]
    assert [gap.reason for gap in spool._state.gaps] == [GapReason.CORRUPT]


def test_what_no_server_would_take_is_not_sent(spool: Spool) -> None:
    large = spool.put(lambda *_: b"x" * (MAX_COMPRESSED_BYTES + 1), time.time_ns() // 1000, {})
    transport = Script()
    assert Sender(spool, transport, lambda: None).send(large) == 0
    assert transport.sent == []
    assert [gap.reason for gap in spool._state.gaps] == [GapReason.REJECTED]
    assert spool.entries() == []


def test_a_batch_goes_out_with_the_place_that_its_header_has(spool: Spool) -> None:
    uploads: list[Upload] = []

    class Noting(Script):
        def send(self, upload: Upload) -> Outcome:
            uploads.append(upload)
            return Delivered()

    outbox = Outbox()
    outbox.put_gap(Gap(reason=GapReason.MISSED, from_at=1, until_at=2))
    Assembler("db-1", outbox, spool, Config, Clock, lambda: None).close_batch()
    (entry,) = spool.entries()
    Sender(spool, Noting(), lambda: None).send(entry)
    (upload,) = uploads
    sent = decode(upload.data)
    assert (upload.stream_id, upload.seq, upload.sent_at) == (sent.stream_id, sent.seq, sent.sent_at)
