"""A disk of a few kilobytes, which a test can fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A tmpfs on the folder; the test is skipped where none can be mounted."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a disk: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


class Ballast:
    """A file that takes what room there is left on its disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def fill(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for size in (65536, 4096, 512, 1):
                self._until_full(descriptor, size)
        finally:
            os.close(descriptor)

    def _until_full(self, descriptor: int, size: int) -> None:
        while True:
            try:
                os.write(descriptor, bytes(size))
            except OSError:
                return

    def leave(self) -> None:
        self._path.unlink(missing_ok=True)
