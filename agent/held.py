"""A folder that one process has at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


class HeldFolder:
    """A lock that ends with the process, on a folder that somebody may remove meanwhile."""

    def __init__(self, path: Path, *below: Path) -> None:
        """`below` are folders that belong into it."""
        self._folders = (path, *below)
        self._held: int | None = None

    def take(self) -> None:
        """Have the folder: again, if this one had it before and it is not the same any more; make what is missing.

        Raises:
            OSError: it cannot be made, or another process has it.
        """
        for folder in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folders[0]
        if self._held is None or not os.path.samestat(os.fstat(self._held), path.stat()):
            self.release()
            self._held = _locked(path)

    def release(self) -> None:
        """Let another process have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(errno.EBUSY, "another agent has it") from error
    return descriptor
