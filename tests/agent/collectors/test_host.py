"""The host's readings fit their metrics and agree with the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agent.collectors import host
from agent.collectors.filesystem import Filesystems
from agent.collectors.values import Rows, Value
from contracts.metrics.host import (
    HOST,
    HOST_CPU,
    HOST_DISK,
    HOST_FILESYSTEM,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_NETWORK,
)
from contracts.metrics.model import Kind, Metric, Type

READINGS: dict[Metric, Callable[[], Rows]] = {
    HOST: host.host,
    HOST_CPU: host.cpu,
    HOST_MEMORY: host.memory,
    HOST_LOAD: host.load,
    HOST_DISK: host.disks,
    HOST_NETWORK: host.networks,
    HOST_FILESYSTEM: lambda: Filesystems().read().rows,
}
PYTHON_TYPES: dict[Type, type] = {
    Type.BIGINT: int,
    Type.FLOAT: float,
    Type.TEXT: str,
    Type.BOOLEAN: bool,
    Type.TIMESTAMP: int,
}
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
DEADLINE_SECONDS = 30


def named(metric: Metric) -> list[dict[str, Value]]:
    return [dict(zip(metric.names, row, strict=True)) for row in READINGS[metric]()]


def count(value: Value) -> int:
    assert type(value) is int
    return value


def reaches(condition: Callable[[], bool]) -> bool:
    """Whether the condition, asked again and again, holds before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


def fields_of(line_start: str, path: str = "/proc/stat") -> list[int]:
    lines = [line.split() for line in Path(path).read_text().splitlines()]
    return next([int(field) for field in line[1:]] for line in lines if line[0] == line_start)


def interfaces() -> list[Path]:
    return [path for path in Path("/sys/class/net").iterdir() if path.is_dir()]  # not the file bonding_masters


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of files that the test writes."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("metric", READINGS, ids=lambda metric: metric.name)
def test_rows_have_the_declared_columns_and_types(metric: Metric) -> None:
    rows = READINGS[metric]()
    for row in rows:
        for value, column in zip(row, metric.columns, strict=True):
            assert value is None or type(value) is PYTHON_TYPES[column.type], column.name
            if column.kind is Kind.COUNTER:
                assert value is None or count(value) >= 0, column.name
    keys = [row[: len(metric.key)] for row in rows]
    assert all(value is not None for key in keys for value in key)
    assert len(set(keys)) == len(keys)
    assert metric.key or len(rows) == 1


def test_the_host_is_named_as_its_kernel_names_it() -> None:
    (row,) = named(HOST)
    said = [
        subprocess.run(["uname", flag], capture_output=True, text=True).stdout.strip() for flag in ("-n", "-m", "-r")
    ]
    assert [row["hostname"], row["machine"], row["kernel"]] == said
    assert row["cpus"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert row["memory_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_instant_of_boot_is_now_less_the_uptime() -> None:
    booted_at = count(named(HOST)[0]["booted_at"])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert booted_at / 1_000_000 == pytest.approx(time.time() - uptime, abs=2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('NAME="Rocky Linux"\nPRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n', "Rocky Linux 9.4 (Blue Onyx)"),
        ("PRETTY_NAME=Void\n", "Void"),
        ("NAME=Nameless\n", None),
        ('PRETTY_NAME="never closed\n', None),
        (None, None),
    ],
)
def test_the_system_is_named_by_os_release_or_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, expected: str | None
) -> None:
    release = tmp_path / "os-release"
    if content is not None:
        release.write_text(content)
    monkeypatch.setattr(host, "_OS_RELEASE", (release,))
    assert named(HOST)[0]["os"] == expected


def test_the_states_of_the_processors_sum_to_uptime_times_processors() -> None:
    (row,) = named(HOST_CPU)
    spent = sum(count(row[name]) for name in HOST_CPU.names if name.endswith("_us"))
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert spent / 1_000_000 == pytest.approx(uptime * os.sysconf("SC_NPROCESSORS_ONLN"), rel=0.2)


def test_cpu_counters_lie_between_what_the_kernel_says_before_and_after() -> None:
    def kernel() -> dict[str, int]:
        user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = fields_of("cpu")
        times = {"user": user, "nice": nice, "system": system, "irq": irq, "softirq": softirq, "steal": steal}
        return {f"{state}_us": ticks * TICK_US for state, ticks in times.items()} | {
            "context_switches": fields_of("ctxt")[0],
            "interrupts": fields_of("intr")[0],
        }

    before, (row,), after = kernel(), named(HOST_CPU), kernel()
    for name, low in before.items():
        assert low <= count(row[name]) <= after[name], name


def test_a_busy_process_shows_as_user_time() -> None:
    before = count(named(HOST_CPU)[0]["user_us"])
    assert reaches(lambda: sum(range(200_000)) > 0 and count(named(HOST_CPU)[0]["user_us"]) >= before + 5 * TICK_US)


def test_guests_are_not_counted_twice(proc: Path) -> None:
    (proc / "stat").write_text("cpu  900 80 70 60 50 40 30 20 600 10\nintr 11 5 6\nctxt 12\nsoftirq 3 1 2\n")
    states = [900, 80, 70, 60, 50, 40, 30, 20]
    assert host.cpu() == [(*(ticks * TICK_US for ticks in states), 12, 11)]


MEMINFO = """MemTotal:        1000 kB
MemFree:          300 kB
MemAvailable:     600 kB
Buffers:           10 kB
Cached:           200 kB
Shmem:             50 kB
SReclaimable:      40 kB
Dirty:              7 kB
SwapTotal:        100 kB
SwapFree:          75 kB
HugePages_Total:    3
"""


def test_memory_is_told_in_bytes_and_slabs_are_not_page_cache(proc: Path) -> None:
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "vmstat").write_text("pgpgin 9\npswpin 2\npswpout 3\npswpoutx 4\n")
    page = os.sysconf("SC_PAGE_SIZE")
    kib = (1000, 600, 300, 10, 200, 50, 7, 100, 25)
    assert host.memory() == [(*(value * 1024 for value in kib), 2 * page, 3 * page)]


@pytest.mark.parametrize("vmstat", ["pgpgin 9\n", None], ids=["without swap", "no file"])
def test_what_the_kernel_does_not_tell_of_memory_is_not_known(proc: Path, vmstat: str | None) -> None:
    (proc / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 300 kB\n")
    if vmstat is not None:
        (proc / "vmstat").write_text(vmstat)
    assert host.memory() == [(1_024_000, None, 307_200, *[None] * 8)]


def test_memory_that_processes_share_shows_as_shared() -> None:
    size = 64 << 20
    before = count(named(HOST_MEMORY)[0]["shared_bytes"])
    with mmap.mmap(-1, size) as shared:
        shared.write(b"x" * size)
        assert count(named(HOST_MEMORY)[0]["shared_bytes"]) - before > size // 2


def test_load_averages_are_those_of_the_c_library() -> None:
    read: list[tuple[Value, ...]] = []

    def agree() -> bool:  # they move every five seconds, perhaps between the two
        (row,) = named(HOST_LOAD)
        read.append((row["load_1m"], row["load_5m"], row["load_15m"]))
        return read[-1] == tuple(round(load, 2) for load in os.getloadavg())

    assert reaches(agree), read[-1]


def test_threads_that_exist_and_run_are_counted() -> None:
    before = count(named(HOST_LOAD)[0]["threads"])
    release = threading.Event()
    threads = [threading.Thread(target=release.wait) for _ in range(100)]
    for thread in threads:
        thread.start()
    try:
        (row,) = named(HOST_LOAD)
    finally:
        release.set()
        for thread in threads:
            thread.join()
    assert count(row["threads"]) - before > 50  # others may end meanwhile
    assert count(row["runnable"]) >= 1  # this one


def test_what_is_written_shows_on_the_device_that_holds_it(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
    disks = {disk["device"]: disk for disk in named(HOST_DISK)}
    if device not in disks:
        pytest.skip("the directory for temporary files is not on a block device")
    before, size = disks[device], 8 << 20
    with (tmp_path / "written").open("wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())

    def grown() -> bool:
        (now,) = (disk for disk in named(HOST_DISK) if disk["device"] == device)
        return count(now["written_bytes"]) >= count(before["written_bytes"]) + size and count(now["writes"]) > count(
            before["writes"]
        )

    assert reaches(grown)


def test_disks_are_told_in_bytes_and_microseconds_without_loop_and_ram(proc: Path) -> None:
    left_out = ("loop0", "loop12p1", "ram3", "zram0")
    kept = ("sda", "nvme0n1p1", "dm-0")
    counters = "5 99 6 7 8 99 9 10 99 11 99 99 99 99 99 99 99"
    (proc / "diskstats").write_text("".join(f"  8  0 {name} {counters}\n" for name in (*left_out, *kept)))
    assert host.disks() == [(name, 5, 8, 6 * 512, 9 * 512, 7000, 10_000, 11_000) for name in kept]


def test_a_host_without_block_devices_has_no_rows(proc: Path) -> None:
    (proc / "diskstats").write_text("")
    assert host.disks() == []


def test_networks_are_all_interfaces_but_the_loopback() -> None:
    assert {row["interface"] for row in named(HOST_NETWORK)} == {path.name for path in interfaces()} - {"lo"}


def test_networks_count_what_the_kernel_counts() -> None:
    files = {
        "received_bytes": "rx_bytes",
        "sent_bytes": "tx_bytes",
        "received_packets": "rx_packets",
        "sent_packets": "tx_packets",
        "receive_errors": "rx_errors",
        "send_errors": "tx_errors",
    }

    def kernel() -> dict[str, dict[str, int]]:
        return {
            interface.name: {name: int((interface / "statistics" / file).read_text()) for name, file in files.items()}
            for interface in interfaces()
        }

    before, rows, after = kernel(), named(HOST_NETWORK), kernel()
    for row in rows:
        interface = str(row["interface"])
        for name in files:
            assert before[interface][name] <= count(row[name]) <= after[interface][name], (interface, name)


def test_every_counter_of_an_interface_stands_in_its_column(proc: Path) -> None:
    (proc / "net").mkdir()
    (proc / "net" / "dev").write_text(
        "Inter-|   Receive | Transmit\n face |bytes ...|bytes ...\n"
        "    lo: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n"
        "  eth0: 10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n"
    )
    assert host.networks() == [("eth0", 10, 20, 11, 21, 12, 22, 13, 23)]


def test_counters_that_were_reset_are_told_as_they_are(proc: Path) -> None:
    (proc / "diskstats").write_text("8 0 sda 5 0 6 7 8 0 9 10 0 11 0\n")
    host.disks()
    (proc / "diskstats").write_text("8 0 sda 1 0 1 1 1 0 1 1 0 1 0\n")
    assert host.disks() == [("sda", 1, 1, 512, 512, 1000, 1000, 1000)]


def test_the_epoch_is_the_same_in_every_process_of_this_boot() -> None:
    code = "from agent.collectors import host; print(host.boot_epoch())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == host.boot_epoch() == host.boot_epoch()
    assert ctypes.c_int64(host.boot_epoch()).value == host.boot_epoch()


def test_another_boot_is_another_epoch(proc: Path) -> None:
    boot_id = proc / "sys" / "kernel" / "random" / "boot_id"
    boot_id.parent.mkdir(parents=True)
    stat = proc / "stat"
    epochs = []
    for name in ("498c460a-64fe-452b-8561-0c3f34720dcd", "598c460a-64fe-452b-8561-0c3f34720dcd"):
        boot_id.write_text(f"{name}\n")
        epochs.append(host.boot_epoch())
    shutil.rmtree(proc / "sys")
    for booted in (1_795_476_581, 1_795_476_999):
        stat.write_text(f"btime {booted}\n")
        epochs.append(host.boot_epoch())
    assert len(set(epochs)) == 4
