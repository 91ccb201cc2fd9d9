"""Every collector, on one screen."""

from __future__ import annotations

from collections.abc import Callable

from agent.collectors import host
from agent.collectors.collector import Collector, Follow, HostReading, Own, Query, Read
from agent.collectors.filesystem import Filesystems
from agent.collectors.health import Health
from agent.collectors.values import Rows
from contracts.batch import Status
from contracts.metrics import (
    AGENT_HEALTH,
    AGENT_TARGET,
    ARCHIVER,
    BGWRITER,
    CHECKPOINTER,
    CLUSTER,
    DATABASE,
    DATABASE_CONFLICTS,
    DATABASE_SIZE,
    DATABASE_STATS,
    EXTENSION,
    HOST,
    HOST_CPU,
    HOST_DISK,
    HOST_FILESYSTEM,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_NETWORK,
    INDEX_STATS,
    IO,
    LOG_EVENT,
    PREPARED_XACT,
    RECOVERY_PREFETCH,
    RELATION,
    ROLE,
    SETTING,
    SLRU,
    TABLE_STATS,
    TABLESPACE_SIZE,
    WAL,
    WAL_FILES,
    XID_AGE,
    XMIN_HOLDER,
)


def _simple(read: Callable[[], Rows]) -> Callable[[], Callable[[], HostReading]]:
    return lambda: lambda: HostReading(read())


def _filesystems() -> Callable[[], HostReading]:
    filesystems = Filesystems()

    def read() -> HostReading:
        found = filesystems.read()
        if not found.stuck:
            return HostReading(found.rows)
        return HostReading(found.rows, Status.TIMEOUT, f"no answer from {', '.join(found.stuck)}"[:1000])

    return read


COLLECTORS: tuple[Collector, ...] = (
    Read(HOST, _simple(host.host)),
    Read(HOST_CPU, _simple(host.cpu)),
    Read(HOST_MEMORY, _simple(host.memory)),
    Read(HOST_LOAD, _simple(host.load)),
    Read(HOST_DISK, _simple(host.disks)),
    Read(HOST_NETWORK, _simple(host.networks)),
    Read(HOST_FILESYSTEM, _filesystems),
    Query(CLUSTER),
    Query(DATABASE),
    Query(DATABASE_STATS),
    Query(RELATION),
    Query(TABLE_STATS),
    Query(INDEX_STATS),
    Query(DATABASE_CONFLICTS),
    Query(BGWRITER),
    Query(CHECKPOINTER),
    Query(WAL),
    Query(ARCHIVER),
    Query(IO),
    Query(SLRU),
    Query(RECOVERY_PREFETCH),
    Query(SETTING),
    Query(ROLE),
    Query(EXTENSION),
    Query(DATABASE_SIZE, withheld="size_bytes"),
    Query(TABLESPACE_SIZE, withheld="size_bytes"),
    Query(WAL_FILES),
    Query(XID_AGE),
    Query(PREPARED_XACT),
    Query(XMIN_HOLDER),
    Follow(LOG_EVENT),
    Own(AGENT_HEALTH, Health.agent),
    Own(AGENT_TARGET, Health.targets),
)
