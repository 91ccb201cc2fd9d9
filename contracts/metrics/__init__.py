"""The catalogue: every metric, declared once.

From here come the check that each SQL variant returns exactly these columns, the validation of batches, the column
lists of COPY, the comparison with the migrations' tables, and the reference page.
"""

from contracts.metrics.agent import AGENT_HEALTH, AGENT_TARGET
from contracts.metrics.headroom import DATABASE_SIZE, PREPARED_XACT, TABLESPACE_SIZE, WAL_FILES, XID_AGE, XMIN_HOLDER
from contracts.metrics.host import HOST, HOST_CPU, HOST_DISK, HOST_FILESYSTEM, HOST_LOAD, HOST_MEMORY, HOST_NETWORK
from contracts.metrics.logs import LOG_EVENT
from contracts.metrics.model import Column, Kind, Metric, Scope, Type
from contracts.metrics.postgres import CLUSTER, DATABASE, DATABASE_STATS, INDEX_STATS, RELATION, TABLE_STATS
from contracts.metrics.server import (
    ARCHIVER,
    BGWRITER,
    CHECKPOINTER,
    DATABASE_CONFLICTS,
    IO,
    RECOVERY_PREFETCH,
    SLRU,
    WAL,
)
from contracts.metrics.settings import EXTENSION, ROLE, SETTING

METRICS: tuple[Metric, ...] = (
    HOST,
    HOST_CPU,
    HOST_MEMORY,
    HOST_LOAD,
    HOST_DISK,
    HOST_NETWORK,
    HOST_FILESYSTEM,
    CLUSTER,
    DATABASE,
    DATABASE_STATS,
    RELATION,
    TABLE_STATS,
    INDEX_STATS,
    DATABASE_CONFLICTS,
    BGWRITER,
    CHECKPOINTER,
    WAL,
    ARCHIVER,
    IO,
    SLRU,
    RECOVERY_PREFETCH,
    SETTING,
    ROLE,
    EXTENSION,
    DATABASE_SIZE,
    TABLESPACE_SIZE,
    WAL_FILES,
    XID_AGE,
    PREPARED_XACT,
    XMIN_HOLDER,
    LOG_EVENT,
    AGENT_HEALTH,
    AGENT_TARGET,
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in METRICS}

__all__ = [
    "AGENT_HEALTH",
    "AGENT_TARGET",
    "ARCHIVER",
    "BGWRITER",
    "CATALOGUE",
    "CHECKPOINTER",
    "CLUSTER",
    "DATABASE",
    "DATABASE_CONFLICTS",
    "DATABASE_SIZE",
    "DATABASE_STATS",
    "EXTENSION",
    "HOST",
    "HOST_CPU",
    "HOST_DISK",
    "HOST_FILESYSTEM",
    "HOST_LOAD",
    "HOST_MEMORY",
    "HOST_NETWORK",
    "INDEX_STATS",
    "IO",
    "LOG_EVENT",
    "METRICS",
    "PREPARED_XACT",
    "RECOVERY_PREFETCH",
    "RELATION",
    "ROLE",
    "SETTING",
    "SLRU",
    "TABLESPACE_SIZE",
    "TABLE_STATS",
    "WAL",
    "WAL_FILES",
    "XID_AGE",
    "XMIN_HOLDER",
    "Column",
    "Kind",
    "Metric",
    "Scope",
    "Type",
]
