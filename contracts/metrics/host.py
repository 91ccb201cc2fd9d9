"""Metrics of a host: processor, memory, load, disks, network, file systems."""

from contracts.metrics.model import Metric, Scope, Type, counter, gauge, instant, label

HOST = Metric(
    name="host",
    scope=Scope.HOST,
    help="What the host is: its name, system and size.",
    key=(),
    columns=(
        label("hostname", "Name of the host as its kernel knows it."),
        label("machine", "Architecture of the processor, as `uname -m` says it."),
        label("kernel", "Release of the kernel."),
        label("os", "Name and version of the operating system (`os-release`, PRETTY_NAME)."),
        gauge("cpus", "Logical processors that are online."),
        gauge("memory_bytes", "Physical memory."),
        instant("booted_at", "When the host was booted."),
    ),
    every_seconds=3600,
)

HOST_CPU = Metric(
    name="host_cpu",
    scope=Scope.HOST,
    help="Time that all processors together spent in each state since the host was booted (/proc/stat).",
    key=(),
    columns=(
        counter("user_us", "In user mode; guests included, niced processes not."),
        counter("nice_us", "In user mode at a lowered priority."),
        counter("system_us", "In the kernel."),
        counter("idle_us", "Idle, nothing outstanding."),
        counter("iowait_us", "Idle while input or output was outstanding."),
        counter("irq_us", "Servicing interrupts."),
        counter("softirq_us", "Servicing soft interrupts."),
        counter("steal_us", "Taken by the hypervisor for others."),
        counter("context_switches", "Context switches."),
        counter("interrupts", "Interrupts serviced."),
    ),
    every_seconds=60,
)

HOST_MEMORY = Metric(
    name="host_memory",
    scope=Scope.HOST,
    help="Memory and swap as they stand (/proc/meminfo), and what was swapped (/proc/vmstat).",
    key=(),
    columns=(
        gauge("total_bytes", "Physical memory."),
        gauge("available_bytes", "What new programs can have without swapping (MemAvailable)."),
        gauge("free_bytes", "Memory that nothing uses."),
        gauge("buffers_bytes", "Buffers of block devices."),
        gauge(
            "cached_bytes",
            "Page cache; shared memory, and so PostgreSQL's buffers, are part of it and of shared_bytes.",
        ),
        gauge("shared_bytes", "Shared memory and tmpfs."),
        gauge("dirty_bytes", "Waiting to be written to disk."),
        gauge("swap_total_bytes", "Swap space."),
        gauge("swap_used_bytes", "Swap space in use."),
        counter("swapped_in_bytes", "Read back from swap since boot."),
        counter("swapped_out_bytes", "Written to swap since boot."),
    ),
    every_seconds=60,
)

HOST_LOAD = Metric(
    name="host_load",
    scope=Scope.HOST,
    help="Load averages and processes (/proc/loadavg).",
    key=(),
    columns=(
        gauge("load_1m", "Load average over one minute.", type=Type.FLOAT),
        gauge("load_5m", "Load average over five minutes.", type=Type.FLOAT),
        gauge("load_15m", "Load average over fifteen minutes.", type=Type.FLOAT),
        gauge("runnable", "Threads that run or wait for a processor now."),
        gauge("threads", "Threads that exist now."),
    ),
    every_seconds=60,
)

HOST_DISK = Metric(
    name="host_disk",
    scope=Scope.HOST,
    help="Block devices and their partitions since boot (/proc/diskstats); loop, RAM and zram devices left out.",
    key=("device",),
    columns=(
        label("device", "Kernel name of the device, such as `nvme0n1p1`."),
        counter("reads", "Reads completed."),
        counter("writes", "Writes completed."),
        counter("read_bytes", "Read."),
        counter("written_bytes", "Written."),
        counter("read_us", "Time spent reading, summed over requests."),
        counter("write_us", "Time spent writing, summed over requests."),
        counter("busy_us", "Time in which at least one request was outstanding."),
    ),
    every_seconds=60,
)

HOST_NETWORK = Metric(
    name="host_network",
    scope=Scope.HOST,
    help="Network interfaces of the agent's own network namespace since they came up; loopback left out.",
    key=("interface",),
    columns=(
        label("interface", "Name of the interface."),
        counter("received_bytes", "Received."),
        counter("sent_bytes", "Sent."),
        counter("received_packets", "Packets received."),
        counter("sent_packets", "Packets sent."),
        counter("receive_errors", "Faulty packets received."),
        counter("send_errors", "Packets that failed to be sent."),
        counter("receive_drops", "Packets dropped on the way in."),
        counter("send_drops", "Packets dropped on the way out."),
    ),
    every_seconds=60,
)

HOST_FILESYSTEM = Metric(
    name="host_filesystem",
    scope=Scope.HOST,
    help="Space and inodes of local file systems (statvfs); remote and virtual ones and read-only images left out.",
    key=("mountpoint",),
    columns=(
        label("mountpoint", "Where it is mounted; the shortest path where one device is mounted several times."),
        label("device", "The device or source of the mount."),
        label("fstype", "Type of the file system."),
        gauge("read_only", "Whether it takes no writes: mounted read-only, or after an error.", type=Type.BOOLEAN),
        gauge("total_bytes", "Size."),
        gauge("used_bytes", "In use."),
        gauge("available_bytes", "Free to processes without privileges; `used + available` may be less than the size."),
        gauge("total_inodes", "Inodes; null where the file system makes them on demand."),
        gauge("used_inodes", "Inodes in use; null where the file system makes them on demand."),
    ),
    every_seconds=60,
)
