"""Every collector, on one screen."""

from __future__ import annotations

from collections.abc import Callable

from agent.collectors import host
from agent.collectors.collector import Collector, Follow, HostReading, Own, Query, Read, Texts, Withheld
from agent.collectors.filesystem import Filesystems
from agent.collectors.health import Health
from agent.collectors.values import Rows
from contracts.batch import Status
from contracts.metrics import (
    ACTIVITY,
    AGENT_HEALTH,
    AGENT_TARGET,
    ARCHIVER,
    BGWRITER,
    BLOAT,
    BLOCKING,
    CHECKPOINTER,
    CLUSTER,
    DATABASE,
    DATABASE_CONFLICTS,
    DATABASE_SIZE,
    DATABASE_STATS,
    EXTENSION,
    FUNCTION,
    FUNCTION_STATS,
    HOST,
    HOST_CPU,
    HOST_DISK,
    HOST_FILESYSTEM,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_NETWORK,
    INDEX_STATS,
    IO,
    LOCK_MODE,
    LOG_EVENT,
    PREPARED_XACT,
    PROGRESS,
    RECOVERY_PREFETCH,
    RELATION,
    RELATION_SIZE,
    REPLICATION,
    REPLICATION_SLOT,
    ROLE,
    SEQUENCE,
    SETTING,
    SLRU,
    STATEMENT_INFO,
    STATEMENT_STATS,
    STATEMENT_TEXT,
    SUBSCRIPTION,
    TABLE_STATS,
    TABLESPACE_SIZE,
    WAL,
    WAL_FILES,
    WAL_RECEIVER,
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
    Query(DATABASE_SIZE, withheld=Withheld("size_bytes")),
    Query(TABLESPACE_SIZE, withheld=Withheld("size_bytes")),
    Query(WAL_FILES),
    Query(XID_AGE),
    Query(PREPARED_XACT),
    Query(XMIN_HOLDER),
    Query(FUNCTION),
    Query(FUNCTION_STATS),
    Query(RELATION_SIZE, locked="size_bytes"),
    Query(SEQUENCE, locked="is_readable", withheld=Withheld("is_readable", "select on the sequences")),
    Query(BLOAT, withheld=Withheld("is_readable", "select on the tables")),
    Query(STATEMENT_STATS, extension="pg_stat_statements", of="statements", needs="pg_read_all_stats"),
    Query(STATEMENT_INFO, extension="pg_stat_statements", of="statements"),
    Texts(STATEMENT_TEXT, told_by=STATEMENT_STATS, extension="pg_stat_statements"),
    Query(ACTIVITY, withheld=Withheld("backend_type")),
    Query(BLOCKING, withheld=Withheld("blocked_backend_type")),
    Query(LOCK_MODE),
    Query(PROGRESS, withheld=Withheld("relid")),
    Query(REPLICATION, withheld=Withheld("state")),
    Query(REPLICATION_SLOT),
    Query(WAL_RECEIVER, withheld=Withheld("status")),
    Query(SUBSCRIPTION),
    Follow(LOG_EVENT),
    Own(AGENT_HEALTH, Health.agent),
    Own(AGENT_TARGET, Health.targets),
)
