"""Files of secrets that only their owner may read: checked before they are read, and written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from functions.secret import open_to_others


class CredentialsError(Exception):
    """Keys cannot be used; the message names their file or secret and what to mend, and shows nothing of it."""


def stamp(path: Path, failed: type[CredentialsError], mend: str) -> tuple[int, int, int]:
    """What is another once the file has changed, if nobody but its owner can read or write it.

    Raises:
        CredentialsError: of the kind `failed`; there is no such file (`mend` says what to do then), or others can
            use it.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise failed(f"{path}: {error.strerror}; {mend}") from error
    if open_to_others(path, found.st_mode):
        raise failed(f"{path}: others than its owner can read or write it; chmod 600 it, and replace its keys")
    return found.st_mtime_ns, found.st_size, found.st_ino


def create(path: Path, text: str) -> None:
    """Write a new file.

    Raises:
        FileExistsError: it is there; it stays as it is.
        OSError: it cannot be written.
    """
    scratch = _scratch(path, text)
    try:
        os.link(scratch, path)  # which, unlike a rename, takes no other's place
    finally:
        scratch.unlink()
    _sync(path.parent)


def replace(path: Path, text: str) -> None:
    """Write the file anew for the same owner: whoever reads it meanwhile finds the old text or the new one.

    Raises:
        OSError: there is no such file, or it cannot be written; it is as it was.
    """
    path = path.resolve(strict=True)
    owner = path.stat()
    scratch = _scratch(path, text)
    try:
        # Root, too, may write it for the account that reads it.
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(scratch, owner.st_uid, owner.st_gid)
        scratch.rename(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _scratch(path: Path, text: str) -> Path:
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    return scratch


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
