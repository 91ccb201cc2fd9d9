"""The host itself: what it is, its processors, memory, load, disks and networks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from pathlib import Path

import psutil

from agent.collectors.values import Rows, Value

#: Devices that are files or memory; their partitions, such as `loop0p1`, with them.
_NOT_DISKS = re.compile(r"(?:loop|z?ram)\d+(?:p\d+)?")

_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


def host() -> Rows:
    """The row of HOST."""
    kernel = os.uname()
    return [
        (
            kernel.nodename,
            kernel.machine,
            kernel.release,
            _os_name(),
            psutil.cpu_count(),
            _meminfo().get("MemTotal"),
            round(psutil.boot_time() * 1_000_000),
        )
    ]


def cpu() -> Rows:
    """The row of HOST_CPU. The kernel counts guests in `user` already (proc(5)), so nothing is added to it."""
    times, events = psutil.cpu_times(), psutil.cpu_stats()
    states = (
        times.user,
        times.nice,
        times.system,
        times.idle,
        times.iowait,
        times.irq,
        times.softirq,
        times.steal,
    )
    return [(*(round(seconds * 1_000_000) for seconds in states), events.ctx_switches, events.interrupts)]


def memory() -> Rows:
    """The row of HOST_MEMORY, in the kernel's own words.

    Not psutil's: it adds reclaimable slabs to the page cache, takes every page for 4 KiB, and says 0 for what is
    missing.
    """
    info = _meminfo()
    total, free = info.get("SwapTotal"), info.get("SwapFree")
    return [
        (
            info.get("MemTotal"),
            info.get("MemAvailable"),
            info.get("MemFree"),
            info.get("Buffers"),
            info.get("Cached"),
            info.get("Shmem"),
            info.get("Dirty"),
            total,
            None if total is None or free is None else total - free,
            *_swapped(),
        )
    ]


def load() -> Rows:
    """The row of HOST_LOAD."""
    one, five, fifteen, threads, _last_pid = _proc("loadavg").read_text("ascii").split()
    runnable, existing = threads.split("/")
    return [(float(one), float(five), float(fifteen), int(runnable), int(existing))]


def disks() -> Rows:
    """The rows of HOST_DISK; none where the kernel shows no block devices, as in some containers."""
    try:
        # nowrap=False here and below: psutil would add up over resets, and the store knows a reset by the epoch.
        devices = psutil.disk_io_counters(perdisk=True, nowrap=False)
    except NotImplementedError:  # neither /proc/diskstats nor /sys/block
        return []
    return [
        (
            name,
            io.read_count,
            io.write_count,
            io.read_bytes,
            io.write_bytes,
            io.read_time * 1000,
            io.write_time * 1000,
            io.busy_time * 1000,
        )
        for name, io in devices.items()
        if not _NOT_DISKS.fullmatch(name)
    ]


def networks() -> Rows:
    """The rows of HOST_NETWORK: the interfaces of the network namespace that the agent runs in."""
    return [
        (
            name,
            io.bytes_recv,
            io.bytes_sent,
            io.packets_recv,
            io.packets_sent,
            io.errin,
            io.errout,
            io.dropin,
            io.dropout,
        )
        for name, io in psutil.net_io_counters(pernic=True, nowrap=False).items()
        if name != "lo"
    ]


def boot_epoch() -> int:
    """The signed 64-bit integer that names this boot: the epoch of the host's counters.

    From the kernel's boot id, which is random; the time of boot moves when the clock is set, so it only stands in.
    """
    try:
        boot = _proc("sys/kernel/random/boot_id").read_text("ascii").strip()
    except FileNotFoundError:
        boot = str(round(psutil.boot_time()))
    return int.from_bytes(hashlib.sha256(boot.encode()).digest()[:8], signed=True)


def _proc(name: str) -> Path:
    return Path(psutil.PROCFS_PATH, name)


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes; what it counts in pages of its own (HugePages_*) is left out."""
    lines = (line.split() for line in _proc("meminfo").read_text("ascii").splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) * 1024 for fields in lines if fields[2:] == ["kB"]}


def _swapped() -> tuple[Value, Value]:
    """Bytes swapped in and out since boot, from /proc/vmstat, which counts pages."""
    try:
        lines = _proc("vmstat").read_text("ascii").splitlines()
    except FileNotFoundError:
        return None, None
    page = os.sysconf("SC_PAGE_SIZE")
    swapped = {name: int(pages) * page for name, pages in map(str.split, lines) if name.startswith("pswp")}
    return swapped.get("pswpin"), swapped.get("pswpout")


def _os_name() -> str | None:
    """PRETTY_NAME of os-release(5), read anew: the standard library's reader answers the same after an upgrade."""
    for path in _OS_RELEASE:
        with contextlib.suppress(OSError, ValueError):  # ValueError: bytes or quotes that break the format
            for line in path.read_text("utf-8").splitlines():
                name, _, value = line.partition("=")
                if name == "PRETTY_NAME":
                    return " ".join(shlex.split(value))
    return None
