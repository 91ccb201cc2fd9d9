"""Presets: which metrics are collected, how often and with which caps, before a document says so of single metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults for all metrics.

    Attributes:
        help: one sentence, for the reference page.
        every: seconds between two readings of a metric, where they are not its own; None switches it off.
        others: whether metrics that are not named there are collected.
        caps: what the metrics' own caps are multiplied by.
    """

    help: str
    every: Mapping[str, int | None] = field(default_factory=dict)
    others: bool = True
    caps: int = 1

    def has(self, metric: str) -> bool:
        """Whether the metric is collected."""
        return self.every[metric] is not None if metric in self.every else self.others


STANDARD = "standard"

PRESETS: Mapping[str, Preset] = {
    "minimal": Preset(
        "What whoever is on call cannot do without, at gentle intervals; metrics of the future are off.",
        every={
            "cluster": 300,
            "database": 3600,
            "relation": 3600,
            "setting": 3600,
            "database_stats": 60,
            "database_size": 3600,
            "table_stats": 300,
            "activity": 60,
            "blocking": 60,
            "replication": 60,
            "replication_slot": 60,
            "wal_receiver": 60,
            "archiver": 300,
            "xid_age": 300,
            "xmin_holder": 300,
            "log_event": 10,
            "host": 3600,
            "host_cpu": 60,
            "host_memory": 60,
            "host_load": 60,
            "host_disk": 60,
            "host_network": 60,
            "host_filesystem": 300,
            "agent_health": 60,
            "agent_target": 60,
        },
        others=False,
    ),
    STANDARD: Preset("Every metric at its own interval, with its own cap."),
    "exhaustive": Preset(
        "Every metric, the momentary ones and the statistics more often, with ten times the caps.",
        every={
            "activity": 5,
            "blocking": 5,
            "progress": 5,
            "lock_mode": 10,
            "replication": 10,
            "wal_receiver": 10,
            "database_stats": 15,
            "database_conflicts": 15,
            "bgwriter": 15,
            "checkpointer": 15,
            "wal": 15,
            "archiver": 15,
            "io": 15,
            "slru": 15,
            "replication_slot": 15,
            "subscription": 15,
            "prepared_xact": 15,
            "statement_stats": 30,
            "statement_info": 30,
            "statement_text": 30,
            "table_stats": 30,
            "index_stats": 30,
            "function_stats": 30,
            "xid_age": 60,
            "xmin_holder": 60,
            "wal_files": 60,
            "setting": 60,
            "database_size": 300,
            "tablespace_size": 300,
            "relation_size": 300,
            "sequence": 600,
            "extension": 600,
            "role": 600,
            "bloat": 3600,
            "host_cpu": 10,
            "host_memory": 10,
            "host_load": 10,
            "host_disk": 10,
            "host_network": 10,
            "agent_health": 15,
            "agent_target": 15,
        },
        caps=10,
    ),
    "rds": Preset(
        "Every metric that a managed server shows to an agent elsewhere: without host, log and files of the WAL.",
        every={
            "host": None,
            "host_cpu": None,
            "host_memory": None,
            "host_load": None,
            "host_disk": None,
            "host_network": None,
            "host_filesystem": None,
            "log_event": None,
            "wal_files": None,
        },
    ),
}
