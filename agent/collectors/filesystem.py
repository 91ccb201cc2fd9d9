"""Space and inodes of the host's local file systems; one that hangs never stops the agent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from agent.collectors.values import Rows, Value

#: Local, though not on a block device, which is how the kernel's list tells local from remote and virtual.
_LOCAL = frozenset({"zfs"})
#: Read-only images (snaps, installation media): full from the day they were made, so their space says nothing.
_IMAGES = frozenset({"cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"})
#: What a super block says when nothing can be written; ext4 says `emergency_ro` after an error, and statvfs not a word.
_READ_ONLY = frozenset({"ro", "emergency_ro"})

_ESCAPED = re.compile(r"\\([0-1][0-7]{2})")

Statvfs = Callable[[str], os.statvfs_result]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading found.

    Attributes:
        rows: the rows of HOST_FILESYSTEM, of all mounts that answered.
        stuck: mountpoints that did not answer before the deadline, now or at an earlier reading and not since.
        refused: mountpoints that answered with an error, such as a permission that is missing.
    """

    rows: Rows
    stuck: tuple[str, ...]
    refused: tuple[str, ...]


class Filesystems:
    """The local file systems, and which of them are stuck. Readings are made one after another."""

    def __init__(
        self, deadline_seconds: float = 2.0, statvfs: Statvfs = os.statvfs, proc: Path = Path("/proc")
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._statvfs = statvfs
        self._proc = proc
        self._pending: dict[int, _Question] = {}

    def read(self) -> Reading:
        """Ask every mount that is not stuck from earlier; all have answered or are stuck by the deadline.

        Raises OSError where the mounts cannot be listed.
        """
        mounts = _counted_once(_local(self._proc))
        self._pending = {mount_id: asked for mount_id, asked in self._pending.items() if asked.is_alive()}
        asked = {mount: _Question(self._statvfs, mount.point) for mount in mounts if mount.id not in self._pending}
        for mount, question in asked.items():
            self._pending[mount.id] = question
            question.start()
        deadline = time.monotonic() + self._deadline_seconds
        for question in asked.values():
            question.join(max(0.0, deadline - time.monotonic()))

        rows: Rows = []
        stuck: list[str] = []
        refused: list[str] = []
        for mount in mounts:
            match asked[mount].answer if mount in asked else None:
                case None:
                    stuck.append(_text(mount.point))
                case OSError():
                    refused.append(_text(mount.point))
                case answer if answer.f_blocks:
                    rows.append(_row(mount, answer))
        return Reading(rows, tuple(stuck), tuple(refused))


class _Question(Thread):
    """One statvfs, in a daemon thread since it may never return and no signal may end it."""

    def __init__(self, statvfs: Statvfs, path: str) -> None:
        super().__init__(name=f"statvfs {path}", daemon=True)
        self._ask = statvfs
        self._path = path
        self.answer: os.statvfs_result | OSError | None = None

    def run(self) -> None:
        try:
            self.answer = self._ask(self._path)
        except OSError as error:
            self.answer = error


@dataclass(frozen=True, slots=True)
class _Mount:
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    # The kernel gives a mount's number away only when nothing holds that mount, and a thread stuck in it does: a
    # healthy mount that takes the place of a dead one is a new one here.
    id: int
    device_number: str
    point: str
    fstype: str
    source: str
    read_only: bool

    @property
    def remote(self) -> bool:
        """Whether the source names another host, `host:/path` or `//host/share`: some clients claim a block device."""
        return self.source.startswith("//") or (":/" in self.source and not self.source.startswith("/"))


def _mounts(proc: Path) -> Iterator[_Mount]:
    text = os.fsdecode((proc / "self" / "mountinfo").read_bytes())
    for line in text.removesuffix("\n").split("\n"):  # a path may have any other character that ends a line
        place, _, what = line.partition(" - ")
        mount_id, _parent, device_number, _root, point, _ = place.split(" ", 5)
        fstype, source, options = what.split(" ", 2)
        # The super block's options, not the mount's: a service's sandbox shows it a writable disk as read-only.
        read_only = not _READ_ONLY.isdisjoint(options.split(","))
        yield _Mount(int(mount_id), device_number, _unescaped(point), fstype, _unescaped(source), read_only)


def _local(proc: Path) -> Iterator[_Mount]:
    """Mounts of block devices, as the kernel's list of types tells them, and a container's root.

    So tmpfs is left out (HOST_MEMORY tells it as shared), and all of fuse but `fuseblk`.
    """
    lines = (proc / "filesystems").read_text("ascii").splitlines()
    types = {line.strip() for line in lines if not line.startswith("nodev")} - _IMAGES | _LOCAL
    visible = {mount.point: mount for mount in _mounts(proc)}  # a later mount covers an earlier one at the same place
    for mount in visible.values():
        if (mount.fstype in types and not mount.remote) or (mount.point == "/" and mount.fstype == "overlay"):
            yield mount


def _counted_once(mounts: Iterator[_Mount]) -> list[_Mount]:
    """One mount for each device, the one with the shortest path: bind mounts and subvolumes share the space."""
    by_device: dict[str, _Mount] = {}
    for mount in sorted(mounts, key=lambda mount: (len(mount.point), mount.point)):
        by_device.setdefault(mount.device_number, mount)
    return list(by_device.values())


def _row(mount: _Mount, answer: os.statvfs_result) -> tuple[Value, ...]:
    return (
        _text(mount.point),
        _text(mount.source),
        mount.fstype,
        mount.read_only,
        answer.f_blocks * answer.f_frsize,
        (answer.f_blocks - answer.f_bfree) * answer.f_frsize,
        answer.f_bavail * answer.f_frsize,
        answer.f_files or None,
        answer.f_files - answer.f_ffree if answer.f_files else None,
    )


def _unescaped(path: str) -> str:
    """The path that the kernel wrote with its blanks, line ends and backslashes as octal numbers."""
    return _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), path)


def _text(path: str) -> str:
    """The path as text that can be stored, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
