"""Local file systems are told once each and truly, and one that hangs costs only itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.collectors.filesystem import Filesystems, Reading

#: Size, free and available of 8, 4 and 2 blocks of 1 KiB; 100 inodes, 90 of them free.
ANSWER = os.statvfs_result((4096, 1024, 8, 4, 2, 100, 90, 90, 0, 255))

TYPES = "nodev\tproc\nnodev\ttmpfs\nnodev\toverlay\nnodev\tnfs4\nnodev\tfuse\n" + "".join(
    f"\t{name}\n" for name in ("ext4", "xfs", "btrfs", "bcachefs", "fuseblk", "lustre", "squashfs", "iso9660")
)


@dataclass
class Machine:
    """A /proc with the mounts that a test names, and a statvfs that answers for them, or hangs."""

    proc: Path
    answers: dict[str, os.statvfs_result | OSError] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def mount(self, *lines: str) -> None:
        (self.proc / "self" / "mountinfo").write_text("".join(f"{line}\n" for line in lines))

    def statvfs(self, path: str) -> os.statvfs_result:
        self.asked.append(path)
        if path in self.hanging:
            self.release.wait()
        answer = self.answers.get(path, ANSWER)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def filesystems(self, deadline_seconds: float = 30) -> Filesystems:
        return Filesystems(deadline_seconds, self.statvfs, self.proc)

    def points(self) -> list[object]:
        return [row[0] for row in self.filesystems().read().rows]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "self").mkdir()
    (tmp_path / "filesystems").write_text(TYPES)
    made = Machine(tmp_path)
    yield made
    made.release.set()


def line(
    id: int, point: str, device: str = "", fstype: str = "ext4", source: str = "/dev/sda1", options: str = "rw"
) -> str:
    return f"{id} 1 {device or f'8:{id}'} / {point} rw,relatime shared:1 master:2 - {fstype} {source} {options}"


def reached(read: Callable[[], Reading], condition: Callable[[Reading], bool]) -> Reading:
    """The first reading for which the condition holds, or the last one before the deadline."""
    deadline = time.monotonic() + 30
    while True:
        reading = read()
        if condition(reading) or time.monotonic() > deadline:
            return reading


def test_this_machines_file_systems_are_as_df_tells_them() -> None:
    rows = Filesystems().read().rows
    for point, _device, fstype, _read_only, total, used, _available, *_ in rows:
        df = ["df", "--block-size=1", "--output=fstype,size,used", str(point)]
        said = subprocess.run(df, capture_output=True, text=True, check=True).stdout.splitlines()[1].split()
        assert [fstype, str(total)] == said[:2]
        assert used == pytest.approx(int(said[2]), abs=1 << 30)  # others write meanwhile


def test_this_machines_inodes_are_as_the_kernel_counts_them() -> None:
    for row in Filesystems().read().rows:
        answer = os.statvfs(str(row[0]))
        assert row[7] == (answer.f_files or None)
        assert row[8] == (pytest.approx(answer.f_files - answer.f_ffree, abs=100_000) if answer.f_files else None)


def test_the_space_of_a_mount(machine: Machine) -> None:
    machine.mount(line(20, "/data", fstype="xfs", source="/dev/mapper/vg-data"))
    expected = ("/data", "/dev/mapper/vg-data", "xfs", False, 8192, 4096, 2048, 100, 10)
    assert machine.filesystems().read() == Reading([expected], (), ())


def test_inodes_made_on_demand_are_not_known(machine: Machine) -> None:
    machine.mount(line(20, "/data", fstype="btrfs"))
    machine.answers["/data"] = os.statvfs_result((4096, 4096, 8, 4, 2, 0, 0, 0, 0, 255))
    assert machine.filesystems().read().rows[0][-2:] == (None, None)


@pytest.mark.parametrize(
    ("options", "read_only"),
    [("rw,noquota", False), ("ro,noquota", True), ("rw,errors=remount-ro", False), ("rw,emergency_ro", True)],
)
def test_read_only_is_what_the_super_block_says(machine: Machine, options: str, read_only: bool) -> None:
    machine.mount(line(20, "/data", options=options).replace("rw,relatime", "ro,relatime"))
    assert machine.filesystems().read().rows[0][3] is read_only


@pytest.mark.parametrize(
    ("fstype", "source"),
    [
        ("nfs4", "filer:/export"),
        ("fuse.sshfs", "user@host:/home"),
        ("lustre", "10.0.0.1@tcp:/scratch"),
        ("ext4", "//host/share"),
        ("proc", "proc"),
        ("tmpfs", "tmpfs"),
        ("overlay", "overlay"),
        ("squashfs", "/dev/loop3"),
        ("iso9660", "/dev/sr0"),
    ],
)
def test_remote_virtual_and_image_file_systems_are_not_even_asked(machine: Machine, fstype: str, source: str) -> None:
    machine.mount(line(20, "/elsewhere", fstype=fstype, source=source))
    assert machine.filesystems().read() == Reading([], (), ())
    assert machine.asked == []


@pytest.mark.parametrize(
    ("fstype", "source"),
    [("zfs", "tank:a/data"), ("bcachefs", "/dev/sda:/dev/sdb"), ("fuseblk", "/dev/sdc1"), ("xfs", "/dev/md0")],
)
def test_local_file_systems_are_told(machine: Machine, fstype: str, source: str) -> None:
    machine.mount(line(20, "/here", fstype=fstype, source=source))
    assert machine.points() == ["/here"]


def test_the_root_of_a_container_is_told(machine: Machine) -> None:
    machine.mount(line(20, "/", "0:50", "overlay", "overlay"), line(21, "/lower", "0:51", "overlay", "overlay"))
    assert machine.points() == ["/"]


def test_a_device_mounted_several_times_is_told_once_at_the_shortest_path(machine: Machine) -> None:
    machine.mount(
        line(20, "/srv/data", "8:1"), line(21, "/data", "8:1"), line(22, "/home", "8:2"), line(23, "/zap", "8:1")
    )
    assert machine.points() == ["/zap", "/home"]


def test_a_mount_that_another_covers_is_not_told(machine: Machine) -> None:
    machine.mount(line(20, "/home"), line(21, "/home", fstype="tmpfs", source="tmpfs"), line(22, "/"))
    assert machine.points() == ["/"]


def test_a_mount_without_blocks_is_not_told(machine: Machine) -> None:
    machine.mount(line(20, "/data"), line(21, "/empty"))
    machine.answers["/empty"] = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    reading = machine.filesystems().read()
    assert [row[0] for row in reading.rows] == ["/data"]
    assert (reading.stuck, reading.refused) == ((), ())


@pytest.mark.parametrize(
    ("written", "path", "told"),
    [
        (rb"/with\040blank", "/with blank", "/with blank"),
        (rb"/tab\011line\012end", "/tab\tline\nend", "/tab\tline\nend"),
        (rb"/back\134040slash", "/back\\040slash", "/back\\040slash"),
        (b"/carriage\rreturn", "/carriage\rreturn", "/carriage\rreturn"),
        ("/größe".encode(), "/größe", "/größe"),
        (b"/latin\xe9", "/latin\udce9", "/latin\\xe9"),
    ],
)
def test_a_path_is_asked_as_it_is_and_told_as_text(machine: Machine, written: bytes, path: str, told: str) -> None:
    mountinfo = machine.proc / "self" / "mountinfo"
    mountinfo.write_bytes(line(20, "POINT").encode().replace(b"POINT", written) + b"\n")
    assert machine.points() == [told]
    assert machine.asked == [path]


def test_a_mount_that_refuses_costs_only_its_own_row(machine: Machine) -> None:
    machine.mount(line(20, "/data"), line(21, "/secret"))
    machine.answers["/secret"] = PermissionError(13, "Permission denied")
    reading = machine.filesystems().read()
    assert [row[0] for row in reading.rows] == ["/data"]
    assert (reading.stuck, reading.refused) == ((), ("/secret",))


def test_a_mount_that_hangs_costs_only_its_own_row(machine: Machine) -> None:
    machine.mount(line(20, "/a"), line(21, "/dead"), line(22, "/z"))
    machine.hanging = {"/dead"}
    reading = machine.filesystems(deadline_seconds=1).read()
    assert [row[0] for row in reading.rows] == ["/a", "/z"]
    assert (reading.stuck, reading.refused) == (("/dead",), ())


def test_a_mount_that_hangs_holds_one_thread_however_often_it_is_read(machine: Machine) -> None:
    machine.mount(line(20, "/a"), line(21, "/dead"))
    machine.hanging = {"/dead"}
    filesystems = machine.filesystems(deadline_seconds=1)
    for _ in range(5):
        reading = filesystems.read()
        assert ([row[0] for row in reading.rows], reading.stuck) == (["/a"], ("/dead",))
        machine.mount(line(20, "/a"), line(21, "/dead", options="ro"))
    assert machine.asked.count("/dead") == 1
    assert [thread.name for thread in threading.enumerate()].count("statvfs /dead") == 1


def test_a_mount_that_answers_again_is_told_again(machine: Machine) -> None:
    machine.mount(line(20, "/data"))
    machine.hanging = {"/data"}
    filesystems = machine.filesystems(deadline_seconds=1)
    assert filesystems.read().stuck == ("/data",)
    machine.release.set()
    reading = reached(filesystems.read, lambda reading: not reading.stuck)
    assert [row[0] for row in reading.rows] == ["/data"]


def test_a_healthy_mount_in_the_place_of_a_dead_one_is_told(machine: Machine) -> None:
    machine.mount(line(20, "/data"))
    machine.hanging = {"/data"}
    filesystems = machine.filesystems(deadline_seconds=1)
    assert filesystems.read().stuck == ("/data",)
    machine.hanging = set()
    machine.mount(line(21, "/data"))
    assert [row[0] for row in filesystems.read().rows] == ["/data"]


def test_a_stuck_thread_does_not_keep_the_process_alive() -> None:
    code = """
import threading
from agent.collectors.filesystem import Filesystems
Filesystems(0.1, lambda path: threading.Event().wait()).read()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_mounts_that_cannot_be_listed_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="filesystems"):
        Filesystems(proc=tmp_path).read()
