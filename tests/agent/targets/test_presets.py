"""A preset for servers elsewhere needs no more than a monitor may read."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from contracts.batch import Status
from contracts.document import DatabaseSettings, Document
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.targets.watching import databases, watched

RDS = Document(preset="rds", databases=DatabaseSettings(include=("elsewhere_*",)))


@pytest.fixture
def dsn_of_a_monitor(server: EmbeddedPostgres) -> Iterator[str]:
    """A database of its own, where the role is a monitor and pg_ls_waldir nobody's."""
    role = f"elsewhere_{os.getpid()}"
    with databases(server, "elsewhere") as (name,), psycopg.connect(server.dsn(name), autocommit=True) as admin:
        admin.execute("create extension pg_stat_statements")
        admin.execute("revoke execute on function pg_ls_waldir() from public, pg_monitor")
        admin.execute(f"create role {role} login in role pg_monitor".encode())
        yield server.dsn(name, user=role)
        admin.execute(f"drop role {role}".encode())


def test_nothing_of_rds_needs_a_superuser_or_the_servers_files(dsn_of_a_monitor: str) -> None:
    with watched(dsn_of_a_monitor) as watching:
        watching.target.apply(RDS)
        runs = [
            run
            for collector in COLLECTORS
            if isinstance(collector, Query) and RDS.interval(collector.metric.name) is not None
            for run in watching.collect(collector.metric).runs
        ]
    assert [run for run in runs if run.status in {Status.PERMISSION, Status.ERROR}] == []
    assert runs
