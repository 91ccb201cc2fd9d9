"""The log files that exist, and their bytes and lines."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.logs.errors import LogUnreadableError
from agent.logs.parser import Form, Line, form_of

#: A longer line is cut.
LINE_LIMIT_BYTES = 1_048_576

_TAIL_BYTES = 64
_COMPRESSED = frozenset({".gz", ".xz", ".bz2", ".zst", ".lz4"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that existed when the candidates were listed; `log` is what the forms of one log have in common."""

    path: Path
    form: Form
    log: str
    device: int
    inode: int
    modified_ns: int

    @property
    def key(self) -> tuple[int, int]:
        return self.device, self.inode


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file, open: what is read stays the same file whatever its name becomes."""

    path: Path
    form: Form
    # Unbuffered: a buffer would still show what was there before a truncation.
    handle: io.FileIO

    @property
    def key(self) -> tuple[int, int]:
        status = os.fstat(self.handle.fileno())
        return status.st_dev, status.st_ino

    @property
    def size(self) -> int:
        return os.fstat(self.handle.fileno()).st_size

    def head(self, covered_bytes: int) -> str:
        """The checksum of the file's beginning."""
        return self._checksum(0, covered_bytes)

    def tail(self, position: int) -> str:
        """The checksum of what stands before a position."""
        return self._checksum(max(0, position - _TAIL_BYTES), position)

    def _checksum(self, start: int, end: int) -> str:
        return hashlib.sha256(os.pread(self.handle.fileno(), end - start, start)).hexdigest()[:16]

    def last_line_end(self) -> int:
        """Where the last whole line ends: a reader that begins there does not begin within a line."""
        size = self.size
        start = max(0, size - LINE_LIMIT_BYTES)
        newline = os.pread(self.handle.fileno(), size - start, start).rfind(b"\n")
        return start + newline + 1 if newline >= 0 else start

    def lines(self, start: int, end: int, *, unfinished: bool) -> Generator[Line, None, None]:
        """The lines between two positions; the last one without an end only where `unfinished` asks for it."""
        with os.fdopen(os.dup(self.handle.fileno()), "rb") as reader:
            reader.seek(start)
            position = start
            while position < end:
                line, ended = _next_line(reader, position, end)
                if line is None or not (ended or unfinished):
                    return
                yield line
                position = line.end


def _next_line(reader: io.BufferedReader, position: int, end: int) -> tuple[Line | None, bool]:
    """One line and whether it has its end; None where the file became shorter meanwhile."""
    data = reader.readline(min(LINE_LIMIT_BYTES, end - position))
    if not data:
        return None, False
    length = len(data)
    ended = data.endswith(b"\n")
    cut = not ended and length == LINE_LIMIT_BYTES
    while cut and not ended and position + length < end:
        rest = reader.readline(min(LINE_LIMIT_BYTES, end - position - length))
        if not rest:
            break
        length += len(rest)
        ended = rest.endswith(b"\n")
    text = data.rstrip(b"\r\n").decode("utf-8", "replace").replace("\0", "")
    return Line(position, position + length, text, cut), ended


def listed(paths: Sequence[Path]) -> list[Listed]:
    """The regular files among the paths, oldest first; compressed ones are over and read.

    Raises:
        LogUnreadableError: the agent's user may not search the folder.
    """
    found: dict[tuple[int, int], Listed] = {}
    for path in paths:
        if path.suffix in _COMPRESSED:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # rotated away since it was listed
        except PermissionError as error:
            raise LogUnreadableError(path) from error
        if stat.S_ISREG(status.st_mode):
            form, log = form_of(path)
            one = Listed(path, form, log, status.st_dev, status.st_ino, status.st_mtime_ns)
            found.setdefault(one.key, one)
    return sorted(found.values(), key=lambda one: (one.modified_ns, one.path))


def best(files: Sequence[Listed], form: Form | None) -> list[Listed]:
    """Of each log that is there in several forms the best form, or of all logs the form asked for."""
    if form is not None:
        return [one for one in files if one.form is form]
    order = list(Form)
    forms: dict[str, Form] = {}
    for one in files:
        forms[one.log] = min(forms.get(one.log, one.form), one.form, key=order.index)
    return [one for one in files if one.form is forms[one.log]]


def opened(one: Listed) -> LogFile | None:
    """The file, open; None where it is gone.

    Raises:
        LogUnreadableError: the agent's user has no right to it.
    """
    try:
        return LogFile(one.path, one.form, one.path.open("rb", buffering=0))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise LogUnreadableError(one.path) from error
