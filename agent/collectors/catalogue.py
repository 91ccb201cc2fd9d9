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
    ACTIVITY,
    AGENT_HEALTH,
    AGENT_TARGET,
    BLOCKING,
    CLUSTER,
    DATABASE,
    DATABASE_STATS,
    HOST,
    HOST_CPU,
    HOST_DISK,
    HOST_FILESYSTEM,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_NETWORK,
    INDEX_STATS,
    LOCK_MODE,
    LOG_EVENT,
    PROGRESS,
    RELATION,
    REPLICATION,
    REPLICATION_SLOT,
    SUBSCRIPTION,
    TABLE_STATS,
    WAL_RECEIVER,
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
    Query(ACTIVITY, hidden="backend_type"),
    Query(BLOCKING, hidden="blocked_backend_type"),
    Query(LOCK_MODE),
    Query(PROGRESS, hidden="relid"),
    Query(REPLICATION, hidden="state"),
    Query(REPLICATION_SLOT),
    Query(WAL_RECEIVER, hidden="status"),
    Query(SUBSCRIPTION),
    Follow(LOG_EVENT),
    Own(AGENT_HEALTH, Health.agent),
    Own(AGENT_TARGET, Health.targets),
)
