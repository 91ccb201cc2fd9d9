"""How far a log was read, as a value that is stored with the rows it goes with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from agent.logs.files import LogFile

_HEAD_BYTES = 256
# A copy is known by its beginning only where that has room for a time and a process.
_LEAST_COPY_BYTES = 32
# A mark travels with every batch: beyond this number the files that have not grown for longest are forgotten.
_REMEMBERED_FILES = 32


class FileMark(BaseModel):
    """How far one file was read.

    Attributes:
        file_id: its identity in `log_event`, 16 hexadecimal characters: of device, inode and the file's beginning as
            it was when first seen.
        device: where it is; with `inode`, what tells it from others while it grows.
        inode: see `device`.
        covered_bytes: how much of its beginning `head` covers, 256 once the file is as long.
        head: checksum of that beginning.
        tail: checksum of the bytes before `position`, which tells a copy from a file that begins alike.
        position: where the first entry begins that was not handed over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_id: str
    device: int
    inode: int
    covered_bytes: NonNegativeInt
    head: str
    tail: str
    position: NonNegativeInt


class Mark(BaseModel):
    """How far a log was read; `model_dump_json()` and `model_validate_json()` are its way to the disk and back.

    Attributes:
        files: those read, the ones that grew last at the end.
        since_ns: a file that is not among them and was last modified before this is old and stays unread.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[FileMark, ...] = ()
    since_ns: int = 0


def new(file: LogFile, replaced: str = "") -> FileMark:
    """The beginning of a file; `replaced` is the identity of the one it overwrote and begins like."""
    device, inode = file.key
    covered_bytes = min(file.size, _HEAD_BYTES)
    head = file.head(covered_bytes)
    identity = f"{device}:{inode}:{head}:{replaced}".encode()
    return FileMark(
        file_id=hashlib.sha256(identity).hexdigest()[:16],
        device=device,
        inode=inode,
        covered_bytes=covered_bytes,
        head=head,
        tail=file.tail(0),
        position=0,
    )


def moved(file: LogFile, mark: FileMark, position: int) -> FileMark:
    """The mark at another position: its identity stays, its checksum covers what has grown."""
    device, inode = file.key
    covered_bytes = max(mark.covered_bytes, min(file.size, _HEAD_BYTES))
    return FileMark(
        file_id=mark.file_id,
        device=device,
        inode=inode,
        covered_bytes=covered_bytes,
        head=file.head(covered_bytes),
        tail=file.tail(position),
        position=position,
    )


def placed(files: Sequence[LogFile], marks: Sequence[FileMark]) -> list[tuple[LogFile, FileMark]]:
    """Where to read on in each file, in their order; copies of files that are read themselves are left out."""
    places: dict[tuple[int, int], FileMark] = {}
    taken: set[str] = set()
    for file in files:
        mark = _same(file, marks)
        if mark is not None:
            places[file.key] = mark
            taken.add(mark.file_id)
    for file in files:
        if file.key in places or not file.size:
            continue
        original = _original(file, marks)
        if original is None:
            places[file.key] = new(file)
        elif original.file_id not in taken:
            # Copied before a truncation: what was not read yet is in the copy alone. Or the device has a new number.
            places[file.key] = moved(file, original, original.position)
            taken.add(original.file_id)
    return [(file, places[file.key]) for file in files if file.key in places]


def _same(file: LogFile, marks: Sequence[FileMark]) -> FileMark | None:
    for mark in reversed(marks):
        if (mark.device, mark.inode) == file.key and file.size and mark.head == file.head(mark.covered_bytes):
            if mark.position <= file.size and mark.tail == file.tail(mark.position):
                return moved(file, mark, mark.position)
            # Overwritten by a file that begins alike: its positions were used with that identity.
            return new(file, replaced=mark.file_id)
    return None


def _original(file: LogFile, marks: Sequence[FileMark]) -> FileMark | None:
    for mark in reversed(marks):
        if (
            mark.covered_bytes >= _LEAST_COPY_BYTES
            and mark.position <= file.size
            and mark.head == file.head(mark.covered_bytes)
            and mark.tail == file.tail(mark.position)
        ):
            return mark
    return None


def kept(mark: Mark, read: Mapping[str, FileMark], modified_ns: Mapping[tuple[int, int], int]) -> Mark:
    """The next mark: the files of this reading put into the one before; `modified_ns` is of the files that exist."""
    before = {one.file_id: one for one in mark.files}
    grown = {file_id: one for file_id, one in read.items() if before.get(file_id) != one}
    files = [*(one for file_id, one in before.items() if file_id not in grown), *grown.values()]
    forgotten, files = files[:-_REMEMBERED_FILES], files[-_REMEMBERED_FILES:]
    since = [modified_ns[key] + 1 for one in forgotten if (key := (one.device, one.inode)) in modified_ns]
    return Mark(files=tuple(files), since_ns=max((mark.since_ns, *since)))


def at_the_end(files: Sequence[LogFile], since_ns: int) -> Mark:
    """The mark of a reader that begins now: what the files hold already stays unread."""
    marks = [moved(file, new(file), file.last_line_end()) for file in files[-_REMEMBERED_FILES:] if file.size]
    return Mark(files=tuple(marks), since_ns=since_ns)
