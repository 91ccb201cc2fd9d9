"""Follows the files of one server's log through rotations and restarts, each entry once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from agent.collectors.values import Rows
from agent.logs.errors import LogUnreadableError
from agent.logs.files import Listed, LogFile, best, listed, opened
from agent.logs.mark import Mark, at_the_end, kept, placed
from agent.logs.parser import Dialect, Form
from agent.logs.reading import FileRun


class Reading(NamedTuple):
    """Rows of `log_event`, the mark to store with them, and whether there is more to read now."""

    rows: Rows
    mark: Mark
    more: bool


def matching(folder: Path, pattern: str) -> list[Path]:
    """The paths in a folder that match a glob pattern.

    Raises:
        LogUnreadableError: the agent's user may not list the folder, which is not the same as no files.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.match(pattern))
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise LogUnreadableError(folder) from error


class LogFollower:
    """Reads a log from where its mark stands.

    Without a mark the first reading has no rows: its mark stands at the end of what exists. `files` lists the
    candidates anew for every reading, so that rotation is seen. The form goes by the extension (`.json`, `.csv`, else
    stderr); of a log in several forms the best is read, unless `form` names one.

    The newest file stays open between readings, so that it is read to its end wherever it is moved to.
    """

    def __init__(
        self,
        files: Callable[[], Sequence[Path]],
        *,
        dialect: Dialect | None = None,
        form: Form | None = None,
        mark: Mark | None = None,
    ) -> None:
        self._files = files
        self._dialect = dialect or Dialect()
        self._form = form
        self._mark = mark
        self._open: dict[tuple[int, int], LogFile] = {}
        self._sizes: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._close_all_but([])

    def rewind(self, mark: Mark) -> None:
        """Read on from a stored mark, where the rows of later readings could not be stored."""
        self._mark = mark

    def read(self, limit_rows: int, limit_bytes: int) -> Reading:
        """The entries since the last reading, from about `limit_bytes` of the files at most.

        An entry at the end of a stderr file, to which another line could still belong, comes with a later reading:
        when the next entry begins, or the file has not grown between two readings.

        Raises:
            LogUnreadableError: a file to read is not readable.
        """
        existing = listed(self._files())
        chosen = best(existing, self._form)
        if self._mark is None:
            files = self._opened(chosen)
            self._mark = at_the_end(files, chosen[-1].modified_ns if chosen else 0)
        known = {(one.device, one.inode) for one in self._mark.files}
        in_sight = {one.key for one in existing}
        # What was moved out of sight is older than what is in sight.
        files = [file for key, file in self._open.items() if key not in in_sight]
        files += self._opened(
            [one for one in chosen if one.key in known or one.modified_ns >= self._mark.since_ns], files
        )
        run = FileRun(self._dialect, limit_rows, limit_bytes, self._sizes)
        for file, place in placed(files, self._mark.files):
            run.read(file, place, newest=file is files[-1])
        self._sizes = run.sizes
        self._mark = kept(self._mark, run.marks, {one.key: one.modified_ns for one in existing})
        self._close_all_but([file for file in files if file is files[-1] or file.key not in run.finished])
        return Reading(run.rows, self._mark, run.more)

    def _opened(self, chosen: Sequence[Listed], already: Sequence[LogFile] = ()) -> list[LogFile]:
        files: list[LogFile] = []
        for one in chosen:
            file = self._open.get(one.key) or opened(one)
            if file is None:
                continue
            # The name may belong to another file than when it was listed.
            same = self._open.setdefault(file.key, file)
            if same is not file:
                file.handle.close()
            if same not in files and same not in already:
                files.append(same)
        return files

    def _close_all_but(self, files: Sequence[LogFile]) -> None:
        for key, file in list(self._open.items()):
            if file not in files:
                file.handle.close()
                del self._open[key]
