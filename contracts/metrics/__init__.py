"""The catalogue: every metric, declared once.

From here come the check that each SQL variant returns exactly these columns, the validation of batches, the column
lists of COPY, the comparison with the migrations' tables, and the reference page.
"""

from contracts.metrics.agent import AGENT_HEALTH, AGENT_TARGET
from contracts.metrics.host import HOST, HOST_CPU, HOST_DISK, HOST_FILESYSTEM, HOST_LOAD, HOST_MEMORY, HOST_NETWORK
from contracts.metrics.logs import LOG_EVENT
from contracts.metrics.model import Column, Kind, Metric, Scope, Type
from contracts.metrics.postgres import CLUSTER, DATABASE, DATABASE_STATS, INDEX_STATS, RELATION, TABLE_STATS
from contracts.metrics.replication import REPLICATION, REPLICATION_SLOT, SUBSCRIPTION, WAL_RECEIVER
from contracts.metrics.sessions import ACTIVITY, BLOCKING, LOCK_MODE, PROGRESS

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
    LOG_EVENT,
    AGENT_HEALTH,
    AGENT_TARGET,
    ACTIVITY,
    BLOCKING,
    LOCK_MODE,
    PROGRESS,
    REPLICATION,
    REPLICATION_SLOT,
    WAL_RECEIVER,
    SUBSCRIPTION,
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in METRICS}

__all__ = [
    "ACTIVITY",
    "AGENT_HEALTH",
    "AGENT_TARGET",
    "BLOCKING",
    "CATALOGUE",
    "CLUSTER",
    "DATABASE",
    "DATABASE_STATS",
    "HOST",
    "HOST_CPU",
    "HOST_DISK",
    "HOST_FILESYSTEM",
    "HOST_LOAD",
    "HOST_MEMORY",
    "HOST_NETWORK",
    "INDEX_STATS",
    "LOCK_MODE",
    "LOG_EVENT",
    "METRICS",
    "PROGRESS",
    "RELATION",
    "REPLICATION",
    "REPLICATION_SLOT",
    "SUBSCRIPTION",
    "TABLE_STATS",
    "WAL_RECEIVER",
    "Column",
    "Kind",
    "Metric",
    "Scope",
    "Type",
]
