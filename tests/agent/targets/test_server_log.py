"""Promises of a followed log: what the server writes arrives once, across restarts of the agent and of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from agent.outbox import Contents
from agent.settings import LogSettings, TargetSettings
from contracts.batch import Status
from contracts.metrics import CLUSTER, LOG_EVENT
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.watching import Watched
from tests.servers import NewServer

SECRET = "s3cretHunter"


@pytest.fixture(scope="module")
def logging_server(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    settings = {
        **THROWAWAY,
        "log_destination": "stderr",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql.log",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_timezone": "America/New_York",
    }
    with new_server(settings) as server:
        yield server


@pytest.fixture
def settings(logging_server: EmbeddedPostgres) -> TargetSettings:
    return TargetSettings(
        name="main", dsn=logging_server.dsn(), log=LogSettings(files=(f"{logging_server.data}/log/*.log",))
    )


def fail(server: EmbeddedPostgres, relation: str) -> None:
    with psycopg.connect(server.dsn()) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute(f"select * from {relation} where name = '{SECRET}'".encode())


def messages(watching: Watched, expected: int) -> list[str]:
    """The errors' messages, once there are so many; each execution leaves its run."""
    found: list[str] = []

    def enough() -> bool:
        contents = watching.collect(LOG_EVENT)
        (run,) = contents.runs
        assert run.status in {Status.OK, Status.EMPTY}, run
        assert (run.rows == 0) == (not contents.frames)
        assert SECRET not in repr(contents)
        for frame in contents.frames:
            columns = zip(frame.columns["severity"], frame.columns["message"], strict=True)
            found.extend(message for severity, message in columns if severity == "ERROR")
        return len(found) >= expected

    until(enough)
    return found


def mark(contents: Contents) -> str:
    return contents.marks["main"]


def test_what_the_server_logs_arrives_once_with_its_time(
    logging_server: EmbeddedPostgres, settings: TargetSettings
) -> None:
    watching = Watched(settings)
    with closing(watching.target):
        first = watching.collect(LOG_EVENT)
        assert first.frames == (), "what was there before is history"
        fail(logging_server, "first_one")
        fail(logging_server, "second_one")
        assert messages(watching, 2) == [
            'relation "first_one" does not exist',
            'relation "second_one" does not exist',
        ]
        assert watching.collect(LOG_EVENT).frames == ()
        run = watching.run(CLUSTER)
        assert run.status is Status.OK


def test_the_log_is_read_on_from_its_mark_after_a_restart(
    logging_server: EmbeddedPostgres, settings: TargetSettings
) -> None:
    watching = Watched(settings)
    stored = mark(watching.collect(LOG_EVENT))
    watching.target.close()
    fail(logging_server, "while_away")
    again = Watched(settings, stored)
    with closing(again.target):
        assert messages(again, 1) == ['relation "while_away" does not exist']


def test_a_mark_that_cannot_be_read_does_not_stop_the_agent(
    logging_server: EmbeddedPostgres, settings: TargetSettings
) -> None:
    watching = Watched(settings, '{"of": "another version"}')
    with closing(watching.target):
        assert watching.collect(LOG_EVENT).frames == ()
        fail(logging_server, "after_that")
        assert messages(watching, 1) == ['relation "after_that" does not exist']


def test_the_log_is_read_while_the_server_is_down(logging_server: EmbeddedPostgres, settings: TargetSettings) -> None:
    watching = Watched(settings)
    with closing(watching.target):
        watching.collect(LOG_EVENT)
        logging_server.stop()
        try:
            found: list[str] = []
            until(
                lambda: (
                    found.extend(  # type: ignore[func-returns-value, redundant-expr]
                        message for frame in watching.collect(LOG_EVENT).frames for message in frame.columns["message"]
                    )
                    or "database system is shut down" in found
                )
            )
        finally:
            logging_server.start()


def test_without_a_log_nothing_follows_one(logging_server: EmbeddedPostgres) -> None:
    watching = Watched(TargetSettings(name="main", dsn=logging_server.dsn()))
    with closing(watching.target):
        assert LOG_EVENT not in {collector.metric for collector in watching.target.collectors()}
