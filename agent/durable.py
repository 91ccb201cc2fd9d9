"""Writes files so that they survive a crash of the machine."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """The file has this content, on the disk; only its owner may read it. Its name may need a `sync` of the folder."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            written = os.write(descriptor, view)
            if written == 0:
                raise OSError(errno.EIO, "nothing was written")
            view = view[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(folder: Path) -> None:
    """The names in the folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """The file has this content under its name, on the disk; a crash on the way leaves what was there before."""
    scratch = path.with_name(f"{path.name}.new")
    write(scratch, data)
    scratch.rename(path)
    sync(path.parent)
