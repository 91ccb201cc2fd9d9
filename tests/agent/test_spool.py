"""Promises of the spool: the stream's order, its bounds, its permissions, and what it does with what it cannot read."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from agent import spool as module
from agent.spool import Spool, SpoolError
from agent.spooled import Entry
from contracts.batch import Gap, GapReason
from tests.agent.disk import fill, tiny_disk

ROOT = Path(__file__).parents[2]
HOUR_US = 3_600_000_000

Opened = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens the one spool of the test, closing the one before as a restart does."""
    with ExitStack() as stack:

        def open_(max_bytes: int = 10**9, max_age_seconds: float = 3600.0) -> Spool:
            stack.close()
            spool = Spool(tmp_path / "spool", max_bytes, max_age_seconds)
            stack.callback(spool.close)
            return spool

        yield open_


def now() -> int:
    return time.time_ns() // 1000


def put(spool: Spool, content: bytes = b"x", closed_at: int | None = None, mark: str = "m") -> Entry:
    return spool.put(lambda *_: content, closed_at or now(), {"db": mark})


def told_by_next(spool: Spool) -> tuple[Gap, ...]:
    told: tuple[Gap, ...] = ()

    def make(_: UUID, seq: int, gaps: tuple[Gap, ...]) -> bytes:
        nonlocal told
        told = gaps
        return str(seq).encode()

    spool.put(make, now(), {})
    return told


def test_batches_come_out_in_the_order_they_went_in(opened: Opened) -> None:
    spool = opened()
    for number in range(12):
        put(spool, str(number).encode())
    assert [(entry.seq, entry.path.read_text()) for entry in spool.entries()] == [(n, str(n)) for n in range(12)]
    first = spool.oldest()
    assert first is not None
    spool.done(first)
    assert [entry.seq for entry in spool.entries()] == list(range(1, 12))


def test_a_restart_goes_on_in_the_same_stream_at_the_next_place(opened: Opened) -> None:
    before = opened()
    put(before, mark="here")
    again = opened()
    assert again.stream_id == before.stream_id
    assert again.marks == {"db": "here"}
    assert again.filled.is_set()
    assert put(again).seq == 1


def test_an_emptied_spool_does_not_begin_its_stream_anew(opened: Opened) -> None:
    spool = opened()
    spool.done(put(spool))
    assert spool.oldest() is None
    assert not spool.filled.is_set()
    assert put(opened()).seq == 1


@pytest.mark.processes
@pytest.mark.parametrize("how", [("random", "60"), ("each",)])
def test_no_crash_loses_a_promised_batch_or_uses_a_place_twice(tmp_path: Path, how: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.agent.crashing", tmp_path, *how],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "promised").read_text().count("\n") >= 30
    assert how[0] == "random" or int(done.stdout) >= 40


def test_nothing_gets_its_name_before_it_is_on_the_disk(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened()
    steps: list[tuple[str, ...]] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        steps.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        steps.append(("rename", path.name, target.name))
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "rename", renamed)
        entry = put(spool)
    assert steps == [
        ("fsync", "000000000000.part"),
        ("fsync", "stream.json.new"),
        ("rename", "stream.json.new", "stream.json"),
        ("fsync", "spool"),
        ("rename", "000000000000.part", entry.path.name),
        ("fsync", "spool"),
    ]


def test_the_oldest_make_room_and_the_next_batch_tells_of_them(opened: Opened) -> None:
    spool = opened(max_bytes=1000)
    times = [now() + number for number in range(5)]
    for closed_at in times[:4]:
        put(spool, b"x" * 300, closed_at)
    assert [entry.seq for entry in spool.entries()] == [1, 2, 3]
    assert sum(entry.size_bytes for entry in spool.entries()) <= 1000
    put(spool, b"x" * 900, times[4])
    assert [entry.seq for entry in spool.entries()] == [4]
    assert told_by_next(opened()) == ()  # they were told by the batches that needed the room


def test_the_batch_that_makes_room_tells_of_it_itself(opened: Opened) -> None:
    spool = opened(max_bytes=1000)
    first = put(spool, b"x" * 1000)
    (gap,) = told_by_next(spool)
    assert (gap.reason, gap.batches) == (GapReason.SPOOL_FULL, 1)
    assert gap.from_at <= first.closed_at <= gap.until_at
    assert told_by_next(spool) == ()


def test_what_is_too_old_is_dropped_and_told(opened: Opened) -> None:
    spool = opened(max_age_seconds=3600)
    old = [now() - 3 * HOUR_US, now() - 2 * HOUR_US]
    for closed_at in old:
        put(spool, closed_at=closed_at)
    # The second put dropped the first, and the batch that was to tell of it is too old itself.
    (gap,) = told_by_next(spool)
    assert (gap.reason, gap.until_at, gap.batches) == (GapReason.SPOOL_AGE, old[1], 2)
    assert [entry.seq for entry in spool.entries()] == [2]


def test_a_clock_that_was_set_back_does_not_drop_the_wrong_batches(opened: Opened) -> None:
    spool = opened(max_bytes=1000, max_age_seconds=7200)
    put(spool, b"young" * 80)
    put(spool, b"old" * 10, closed_at=now() - 4 * HOUR_US)
    told = told_by_next(spool)
    assert [(gap.reason, gap.batches) for gap in told] == [(GapReason.SPOOL_AGE, 1)]
    assert [entry.seq for entry in spool.entries()] == [0, 2]


def test_a_gap_survives_a_restart_until_a_batch_tells_of_it(opened: Opened) -> None:
    gap = Gap(reason=GapReason.DISK_FULL, from_at=1, until_at=2, batches=1)
    opened().lost(gap)
    assert told_by_next(opened()) == (gap,)
    assert told_by_next(opened()) == ()


def test_losses_of_one_kind_without_a_batch_between_them_are_one_gap(opened: Opened) -> None:
    spool = opened()
    for minute in range(100):
        spool.lost(Gap(reason=GapReason.DISK_FULL, from_at=minute, until_at=minute + 1, batches=1, detail="full"))
    assert told_by_next(spool) == (
        Gap(reason=GapReason.DISK_FULL, from_at=0, until_at=100, batches=100, detail="full"),
    )


def test_a_full_disk_costs_the_batch_and_nothing_else(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "128k") as disk:
        spool = Spool(disk / "spool", 10**9, 3600)
        put(spool, b"kept", mark="kept")
        with pytest.raises(SpoolError, match=r"spool.*No space left on device"):
            put(spool, os.urandom(256_000), mark="lost")
        assert spool.marks == {"db": "kept"}
        spool.lost(Gap(reason=GapReason.DISK_FULL, from_at=1, until_at=2, batches=1))
        (gap,) = told_by_next(spool)
        assert gap.reason is GapReason.DISK_FULL
        assert [(entry.seq, entry.path.read_bytes()) for entry in spool.entries()] == [(0, b"kept"), (1, b"1")]
        assert not list((disk / "spool").glob("*.part"))
        spool.close()


def test_on_a_full_disk_what_cannot_be_sent_still_makes_way(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "128k") as disk:
        spool = Spool(disk / "spool", 10**9, 3600)
        bad = put(spool)
        put(spool)
        fill(disk / "ballast")
        spool.put_aside(bad, GapReason.CORRUPT, "not gzip")
        assert [entry.seq for entry in spool.entries()] == [1]
        (disk / "ballast").unlink()
        assert [gap.reason for gap in told_by_next(spool)] == [GapReason.CORRUPT]
        spool.close()


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_a_step_that_fails_is_a_spool_error_and_no_place_is_used_twice(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    spool = opened()
    put(spool, b"first")
    for turn in range(3):
        with monkeypatch.context() as patch:
            left = turn

            where: object = Path if step == "rename" else module
            real: Callable[..., object] = getattr(where, step)

            def failing(*arguments: object, real: Callable[..., object] = real) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(5, "Input/output error")
                return real(*arguments)

            patch.setattr(where, step, failing)
            if left < 2:
                with pytest.raises(SpoolError, match="Input/output error"):
                    put(spool, f"lost {turn}".encode())
    entry = put(spool, b"last")
    contents = {each.seq: each.path.read_bytes() for each in opened().entries()}
    assert contents[0] == b"first"
    assert contents[entry.seq] == b"last"
    assert max(contents) == entry.seq


def test_room_that_cannot_be_made_is_a_spool_error(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(max_bytes=1000)
    put(spool, b"x" * 900)

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        with pytest.raises(SpoolError, match="Permission denied"):
            put(spool, b"x" * 900)


def test_nobody_else_may_read_the_spool(opened: Opened, tmp_path: Path) -> None:
    spool = opened()
    put(spool)
    spool.put_aside(put(spool), GapReason.REJECTED, "no", 422)
    for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("state", [b"", b"\x00" * 100, b"{", b'{"stream_id": 1}', b"\xff\xfe"])
def test_a_corrupt_state_is_set_aside_and_a_new_stream_tells_of_the_loss(
    opened: Opened, tmp_path: Path, state: bytes
) -> None:
    spool = opened()
    lost = put(spool, b"stranger")
    (tmp_path / "spool" / "stream.json").write_bytes(state)
    again = opened()
    assert again.stream_id != spool.stream_id
    assert again.entries() == []
    assert [path.read_bytes() for path in (tmp_path / "spool").glob("stream.corrupt-*")] == [state]
    assert (tmp_path / "spool" / "rejected" / lost.path.name).read_bytes() == b"stranger"
    (gap,) = told_by_next(again)
    assert (gap.reason, gap.batches) == (GapReason.CORRUPT, 1)
    assert gap.from_at <= lost.closed_at <= gap.until_at


def test_batches_without_a_state_are_set_aside_and_told(opened: Opened, tmp_path: Path) -> None:
    stranger = put(opened())
    (tmp_path / "spool" / "stream.json").unlink()
    again = opened()
    assert again.entries() == []
    assert (tmp_path / "spool" / "rejected" / stranger.path.name).exists()
    assert [(gap.reason, gap.batches) for gap in told_by_next(again)] == [(GapReason.CORRUPT, 1)]


def test_a_new_spool_tells_of_no_loss(opened: Opened) -> None:
    assert told_by_next(opened()) == ()


def test_a_rejected_batch_lies_aside_with_the_answer_and_is_told(opened: Opened, tmp_path: Path) -> None:
    spool = opened()
    entry = put(spool, b"refused")
    spool.put_aside(entry, GapReason.REJECTED, "frames: no", 422)
    assert spool.entries() == []
    aside = tmp_path / "spool" / "rejected"
    assert (aside / entry.path.name).read_bytes() == b"refused"
    (answer,) = aside.glob("*.answer.json")
    assert json.loads(answer.read_bytes()) == {"reason": "rejected", "status": 422, "detail": "frames: no"}
    (gap,) = told_by_next(spool)
    assert (gap.reason, gap.batches, gap.detail) == (GapReason.REJECTED, 1, "frames: no")


def test_what_lies_aside_is_bounded_as_the_spool_is(opened: Opened, tmp_path: Path) -> None:
    spool = opened(max_bytes=10_000)
    for number in range(30):
        spool.put_aside(put(spool, b"%d" % number * 400), GapReason.REJECTED, "no", 422)
    files = list((tmp_path / "spool").rglob("*"))
    assert sum(file.stat().st_size for file in files if file.is_file()) < 12_000
    assert any(file.read_bytes().startswith(b"2929") for file in files if file.is_file())


def test_two_processes_cannot_have_one_spool(opened: Opened, tmp_path: Path) -> None:
    spool = opened()
    with pytest.raises(SpoolError, match="another agent"):
        Spool(tmp_path / "spool", 10**9, 3600)
    spool.close()
    opened()


def test_a_spool_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file/spool: Not a directory"):
        Spool(tmp_path / "file" / "spool", 10**9, 3600)


def test_a_spool_removed_from_under_its_agent_goes_on_and_tells_of_what_was_lost(
    opened: Opened, tmp_path: Path
) -> None:
    spool = opened(max_age_seconds=10**10)
    for at in (100, 200, 300):
        put(spool, closed_at=at)
    entry = spool.oldest()
    assert entry is not None
    spool.done(entry)
    stream = spool.stream_id
    shutil.rmtree(tmp_path / "spool")
    (gap,) = told_by_next(spool)
    assert (gap.reason, gap.from_at, gap.until_at, gap.batches) == (GapReason.CORRUPT, 200, 300, 2)
    assert "removed" in (gap.detail or "")
    (entry,) = spool.entries()
    assert (spool.stream_id, entry.seq) == (stream, 3), "the place of another batch was used again"
    with pytest.raises(SpoolError, match="another agent has it"):
        Spool(tmp_path / "spool", 10**9, 3600)
    assert opened().stream_id == stream


def test_a_batch_removed_from_the_spool_is_told_once(opened: Opened) -> None:
    spool = opened(max_age_seconds=10**10)
    entry = put(spool, closed_at=100)
    put(spool, closed_at=200)
    entry.path.unlink()
    (gap,) = told_by_next(spool)
    assert (gap.from_at, gap.until_at, gap.batches) == (100, 100, 1)
    assert told_by_next(spool) == ()


def test_a_spool_whose_state_was_removed_goes_on_in_its_stream(opened: Opened, tmp_path: Path) -> None:
    spool = opened()
    put(spool)
    stream = spool.stream_id
    (tmp_path / "spool" / "stream.json").unlink()
    put(spool)
    spool.close()
    again = opened()
    assert (again.stream_id, [entry.seq for entry in again.entries()]) == (stream, [0, 1])


def test_a_spool_made_anew_by_another_agent_is_left_to_it(opened: Opened, tmp_path: Path) -> None:
    spool = opened()
    put(spool)
    shutil.rmtree(tmp_path / "spool")
    other = Spool(tmp_path / "spool", 10**9, 3600)
    put(other)
    with pytest.raises(SpoolError, match="another agent has it"):
        put(spool)
    assert [entry.seq for entry in other.entries()] == [0]
    other.close()


@pytest.mark.parametrize("lost", ["rejected", "dropped", "removed"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_gap_that_a_lost_batch_was_to_tell_of_is_told_again(opened: Opened, lost: str, restarted: bool) -> None:
    spool = opened(max_age_seconds=10**10)
    first = Gap(reason=GapReason.DISK_FULL, from_at=1, until_at=2, batches=3)
    spool.lost(first)
    entry = put(spool, closed_at=100)
    if restarted:
        spool = opened(max_age_seconds=10**10)
    if lost == "rejected":
        spool.put_aside(entry, GapReason.REJECTED, "why", 422)
    elif lost == "dropped":
        spool._drop([entry], GapReason.SPOOL_FULL)
    else:
        entry.path.unlink()
    told = told_by_next(spool)
    assert told[0] == first
    assert [gap.batches for gap in told] == [3, 1]


def test_a_gap_that_arrived_is_not_told_again(opened: Opened) -> None:
    spool = opened()
    spool.lost(Gap(reason=GapReason.DISK_FULL, from_at=1, until_at=2, batches=3))
    spool.done(put(spool))
    assert told_by_next(spool) == ()
    second = spool.oldest()
    assert second is not None
    spool.put_aside(second, GapReason.REJECTED, "why", 422)
    assert [gap.reason for gap in told_by_next(spool)] == [GapReason.REJECTED]


def test_refusals_that_are_worded_anew_each_time_stay_few_gaps(opened: Opened) -> None:
    spool = opened()
    for number in range(300):
        spool.put_aside(put(spool), GapReason.REJECTED, f"{number} seconds ahead", 422)
    told = told_by_next(spool)
    assert len(told) <= 100
    assert sum(gap.batches for gap in told) == 300
