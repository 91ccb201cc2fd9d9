"""A target as a test watches it: databases of its own, one execution at a time, frames as rows by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.outbox import Contents, Outbox
from agent.settings import TargetSettings
from agent.targets.server import ServerTarget
from contracts.batch import Frame, Run
from contracts.metrics import CATALOGUE, Metric
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until

#: What a frame says of a key.
Rows = dict[Any, dict[str, Any]]


@contextmanager
def databases(server: EmbeddedPostgres, *names: str) -> Iterator[list[str]]:
    """Databases with names that begin so, dropped at the end."""
    made = [f"{name}_{uuid4().hex[:8]}" for name in names]
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        for name in made:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield made
        for name in made:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


class Watched:
    """A server target with its outbox."""

    def __init__(self, settings: TargetSettings, mark: str | None = None) -> None:
        self.changes = Changes()
        self.outbox = Outbox()
        #: How far logs were read and stored.
        self.marks = {settings.name: mark} if mark else {}
        self.target = ServerTarget(settings, self.changes, self.outbox, lambda: self.marks)

    def collect(self, metric: Metric) -> Contents:
        """What one execution put into the outbox."""
        (collector,) = (each for each in COLLECTORS if each.metric is metric)
        self.target.collect(collector)
        return self.outbox.take()

    def frame(self, metric: Metric) -> Frame:
        contents = self.collect(metric)
        assert len(contents.frames) == 1, contents.runs
        return contents.frames[0]

    def run(self, metric: Metric) -> Run:
        (run,) = self.collect(metric).runs
        return run


@contextmanager
def watched(dsn: str) -> Iterator[Watched]:
    """The server at this address, as `main`."""
    watching = Watched(TargetSettings(name="main", dsn=dsn))
    try:
        yield watching
    finally:
        watching.target.close()


def rows_of(frame: Frame) -> Rows:
    """The rows of a frame by their key: its value, or its values; of a metric of one row, the empty key."""
    metric = CATALOGUE[frame.metric]
    rows = zip(*(frame.columns[name] for name in metric.names), strict=True)
    parts = len(metric.key)
    return {row[0] if parts == 1 else row[:parts]: dict(zip(metric.names, row, strict=True)) for row in rows}


def agreed(read: Callable[[], Rows], expected: Callable[[], Rows]) -> Rows:
    """Both, once they are the same: statistics of a session that ended arrive when they arrive."""
    both: tuple[Rows, Rows] = ({}, {})

    def same() -> bool:
        nonlocal both
        both = read(), expected()
        return both[0] == both[1]

    try:
        until(same, 10)
    except AssertionError:
        assert both[0] == both[1]
    return both[0]


def truth(connection: psycopg.Connection, query: str, newer: str = "") -> Rows:
    """The same of a query of PostgreSQL's own views.

    `newer` are columns (`name type, …`) that old servers' views lack: there they are null.
    """
    if newer:
        # A name means the view's column where it has one, and only otherwise the null from outside.
        query = f"select v.* from jsonb_to_record('{{}}') as newer({newer}) cross join lateral ({query}) as v"
    cursor = connection.execute(query.encode())
    names = [column.name for column in cursor.description or ()]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cursor}
