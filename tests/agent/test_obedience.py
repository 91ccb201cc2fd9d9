"""Promises of a running agent that is given documents: each is obeyed at once, whole or not at all, and told of."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from contracts.batch import Batch, ConfigState, Run, Status
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres
from tests.agent.obeying import Obedient, obeying, only
from tests.agent.polling import until
from tests.agent.program import target
from tests.agent.targets.watching import databases
from tests.servers import NewServer

pytestmark = [pytest.mark.processes, pytest.mark.any_version]

#: Settings of a server with a log to follow.
LOGGING = {
    **THROWAWAY,
    "log_destination": "stderr",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql.log",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


@pytest.fixture(scope="module")
def watched(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    with new_server(LOGGING) as server:
        yield server


@pytest.fixture(scope="module")
def admin(watched: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(watched.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def obedient(watched: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Obedient]:
    log = f'[targets.log]\nfiles = ["{watched.data}/log/*.log"]\n'
    with obeying(tmp_path_factory.mktemp("agent"), target(watched.dsn(), log)) as running:
        yield running


def test_another_interval_is_obeyed(obedient: Obedient) -> None:
    since = obedient.obey(only("host_load", host_cpu={"every_seconds": 3600}))
    until(obedient.gone("host_cpu", "host_load", since))
    since = obedient.obey(only("host_cpu", host_load={"every_seconds": 3600}))
    until(obedient.gone("host_load", "host_cpu", since))


def test_what_is_switched_off_is_read_no_more_and_comes_back(obedient: Obedient) -> None:
    since = obedient.obey(only("host_load", "host_cpu"))
    until(lambda: obedient.runs(since, "host_cpu"))
    since = obedient.obey(only("host_load"))
    until(obedient.gone("host_cpu", "host_load", since))
    since = obedient.obey(only("host_load", "host_cpu"))
    until(lambda: obedient.runs(since, "host_cpu"))


def test_another_cap_is_obeyed(obedient: Obedient, watched: EmbeddedPostgres) -> None:
    with databases(watched, "capped") as (name,), psycopg.connect(watched.dsn(name), autocommit=True) as owner:
        for table in ("one", "two", "three"):
            owner.execute(f"create table {table} (id int)".encode())
        here: dict[str, Any] = {"databases": {"include": [name]}}
        since = obedient.obey(here | only(table_stats={"at_most": 2}))
        until(lambda: obedient.runs(since, "table_stats"))
        run = obedient.runs(since, "table_stats")[0]
        assert (run.status, run.rows, run.rows_available) == (Status.TRUNCATED, 2, 3)
        assert run.detail == "metrics.table_stats.at_most is 2"
        since = obedient.obey(here | only("table_stats"))
        until(lambda: obedient.runs(since, "table_stats"))
        assert obedient.runs(since, "table_stats")[0].status is Status.OK
        obedient.obey(only("agent_health"))  # nobody is in the database when it goes


def test_another_preset_is_obeyed(obedient: Obedient) -> None:
    quick = {"metrics": {name: {"every_seconds": 1} for name in ("bgwriter", "archiver", "host_load")}}
    since = obedient.obey(quick | {"preset": "minimal"})
    until(obedient.gone("bgwriter", "archiver", since))
    since = obedient.obey(quick | {"preset": "rds"})
    until(lambda: obedient.runs(since, "bgwriter"))
    until(obedient.gone("host_load", "bgwriter", since))


def test_other_patterns_of_databases_are_obeyed(obedient: Obedient, watched: EmbeddedPostgres) -> None:
    with databases(watched, "shop", "shop_old") as names, psycopg.connect(watched.dsn(), autocommit=True) as owner:
        oids: dict[str, int] = dict(owner.execute("select datname, oid::bigint from pg_database").fetchall())
        shop, old = (oids[name] for name in names)

        def read(include: list[str], exclude: list[str]) -> set[int | None]:
            since = obedient.obey(
                only("table_stats", "host_load") | {"databases": {"include": include, "exclude": exclude}}
            )
            until(lambda: len(obedient.runs(since, "table_stats")) >= 4)
            return {run.datid for run in obedient.runs(since, "table_stats")}

        assert read(["shop_*"], []) == {shop, old}
        assert read(["shop_*"], ["shop_old_*"]) == {shop}
        assert read([names[1], "[p]ostgre?"], []) == {old, oids["postgres"]}
        obedient.obey(only("agent_health"))


def fail(admin: psycopg.Connection, *relations: str) -> None:
    for relation in relations:
        with pytest.raises(psycopg.errors.UndefinedTable):
            admin.execute(f"select from {relation}".encode())


def entries(obedient: Obedient, since: int, column: str) -> list[Any]:
    return [value for frame in obedient.frames(since, "log_event") for value in frame.columns[column]]


def arrived(obedient: Obedient, since: int, relation: str) -> None:
    until(lambda: f'relation "{relation}" does not exist' in entries(obedient, since, "message"))


def test_another_filter_of_logs_is_obeyed(obedient: Obedient, admin: psycopg.Connection) -> None:
    def written(least: str, relation: str) -> list[Any]:
        since = obedient.obey(only("log_event") | {"logs": {"least_severity": least}})
        until(lambda: obedient.runs(since, "log_event"))  # where it begins, the first time
        admin.execute("do $$ begin raise log 'as ever'; raise warning 'look'; end $$")
        fail(admin, relation)
        arrived(obedient, since, relation)
        return entries(obedient, since, "severity")

    assert set(written("error", "filtered")) == {"ERROR"}
    assert {"LOG", "WARNING", "ERROR"} <= set(written("debug", "not_filtered"))
    assert "LOG" not in set(written("warning", "half_filtered"))


def test_another_bound_of_logs_is_obeyed(obedient: Obedient, admin: psycopg.Connection) -> None:
    since = obedient.obey(only("log_event") | {"logs": {"least_severity": "error", "at_most_per_minute": 2}})
    until(lambda: obedient.runs(since, "log_event"))
    fail(admin, *(f"bounded_{number}" for number in range(5)))

    def available() -> int:
        return sum(run.rows_available or run.rows for run in obedient.runs(since, "log_event"))

    until(lambda: available() == 5)
    runs = obedient.runs(since, "log_event")
    assert sum(run.rows for run in runs) == 2
    assert {run.detail for run in runs if run.status is Status.TRUNCATED} == {"logs.at_most_per_minute is 2"}
    since = obedient.obey(only("log_event"))
    fail(admin, "unbounded")
    arrived(obedient, since, "unbounded")


def test_another_budget_is_obeyed(obedient: Obedient) -> None:
    since = obedient.obey(only("table_stats", "host_load") | {"budget": {"cpu_share": 0.00001}})

    def left_out() -> bool:
        runs = obedient.runs(since, "table_stats")
        return any(run.status is Status.SKIPPED and "budget.cpu_share" in (run.detail or "") for run in runs)

    until(left_out)
    since = obedient.obey(only("table_stats", "host_load"))
    until(lambda: any(run.status is not Status.SKIPPED for run in obedient.runs(since, "table_stats")))


def test_another_interval_of_batches_is_obeyed(obedient: Obedient, admin: psycopg.Connection) -> None:
    obedient.obey(only("database_stats") | {"upload_every_seconds": 3600})
    rare = obedient.version
    readings: list[datetime] = []

    def read(times: int) -> bool:
        """Whether so many readings, a second apart and of some queries each, were seen."""
        (newest,) = admin.execute(
            "select max(query_start) from pg_stat_activity where application_name = 'pganalytics-agent'"
        ).fetchone() or (None,)
        if newest and (not readings or newest - readings[-1] > timedelta(seconds=0.5)):
            readings.append(newest)
        return len(readings) >= times

    until(lambda: read(5))
    obedient.obey(only("database_stats"))
    often = [batch for batch in obedient.batches() if batch.config.version == obedient.version]
    assert len([batch for batch in obedient.batches() if batch.config.version == rare]) <= 2
    assert len([run for run in often[0].runs if run.collector == "database_stats"]) >= 3
    count = len(often)
    until(lambda: len([b for b in obedient.batches() if b.config.version == obedient.version]) >= count + 2)


@contextmanager
def stopped(admin: psycopg.Connection) -> Iterator[None]:
    """The server answers the agent nothing."""
    found = admin.execute("select pid from pg_stat_activity where application_name = 'pganalytics-agent'").fetchall()
    assert found
    for (pid,) in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in found:
            os.kill(pid, signal.SIGCONT)


def test_a_collection_that_runs_ends_as_it_began(obedient: Obedient, admin: psycopg.Connection) -> None:
    since = obedient.obey(only("database_stats", "host_load"))
    until(lambda: obedient.runs(since, "database_stats"))
    with stopped(admin):
        # The next is due while this one waits for its answer.
        until(lambda: any(run.status is Status.MISSED for run in obedient.runs(since, "database_stats")))
        obeyed = obedient.obey(only("host_load"))
        until(lambda: len(obedient.runs(obeyed, "host_load")) >= 2)

    def ended() -> list[Run]:
        runs = (run for run in obedient.runs(since, "database_stats") if run.started_at < obeyed)
        return [run for run in runs if run.started_at + run.duration_us > obeyed]

    until(ended)
    (run,) = ended()
    assert run.status is Status.OK
    assert any(frame.collected_at == run.started_at for frame in obedient.frames(since, "database_stats"))
    until(obedient.gone("database_stats", "host_load", obeyed))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"preset": "of_tomorrow"}, "document.preset: version"),
    ({"databases": {"include": ["shop", ""]}}, "document.databases.include[1]: "),
    ({"databases": {"exclude": ["[a-"]}}, "document.databases.exclude[0]: "),
    ({"logs": {"least_severity": "loud"}}, "document.logs.least_severity: "),
    ({"upload_every_seconds": 0}, "document.upload_every_seconds: "),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_refused_document_is_told_and_nothing_is_lost_meanwhile(
    obedient: Obedient, admin: psycopg.Connection, bad: dict[str, Any], reason: str
) -> None:
    since = obedient.obey(only("log_event", "host_load"))
    applied, kept = obedient.version, obedient.kept()
    until(lambda: obedient.runs(since, "log_event"))
    # Refused whole: what is good in it is not obeyed either.
    etag = obedient.offer(only("host_cpu") | bad)
    obedient.pull_now()
    until(lambda: obedient.batches()[-1].config.state is ConfigState.REJECTED)
    refused = time.time_ns() // 1000
    told = obedient.batches()[-1].config
    assert (told.version, told.etag) == (applied, etag)
    assert (told.reason or "").startswith(reason)
    assert obedient.kept() == kept
    names = [f"refused_{obedient.version}_{number}" for number in range(3)]
    fail(admin, *names)
    arrived(obedient, since, names[-1])
    # Asked again, it is the same document: the state stays, and nothing is pulled anew.
    obedient.pull_now()
    until(lambda: len(obedient.runs(refused, "host_load")) >= 3)
    assert {run.collector for run in obedient.runs(refused)} == {"log_event", "host_load"}
    assert obedient.batches()[-1].config == told
    obedient.obey(only("log_event", "host_load"))
    assert obedient.batches()[-1].config.reason is None
    messages = entries(obedient, since, "message")
    assert [messages.count(f'relation "{name}" does not exist') for name in names] == [1, 1, 1]
    whole(obedient.batches())


def whole(batches: list[Batch]) -> None:
    """All of one stream, in its order, and nothing told as lost."""
    assert [batch.seq for batch in batches] == list(range(len(batches)))
    assert len({batch.stream_id for batch in batches}) == 1
    assert [gap for batch in batches for gap in batch.gaps] == []


def test_what_is_saved_is_obeyed_within_the_interval(obedient: Obedient) -> None:
    every = 2
    obedient.obey(only("host_load") | {"pull_every_seconds": every})
    took: list[float] = []
    for change in range(10):
        # Saved just after a pull: it waits for as long as anything does.
        obedient.offer(only(host_load={"every_seconds": 10 + change}) | {"pull_every_seconds": every})
        saved = time.monotonic()
        until(lambda: obedient.kept().version == obedient.version)
        took.append(time.monotonic() - saved)
    print(  # noqa: T201 - pytest -s shows it
        f"saved to applied, {every} s between pulls, 10 changes: "
        f"{min(took):.2f} to {max(took):.2f} s, median {statistics.median(took):.2f} s"
    )
    assert max(took) <= every + 1


def test_the_last_good_document_outlives_a_kill_and_an_outage(
    watched: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    with obeying(folder, target(watched.dsn())) as first:
        first.obey(only("host_load"))
        told = first.batches()[-1].config
        first.process.kill()
        first.process.wait(30)
    with obeying(folder, target(watched.dsn()), away=True) as again:
        since = time.time_ns() // 1000
        until(lambda: len(again.runs(since, "host_load")) >= 3)
        assert [asked.path for asked in again.door.asked if asked.method == "GET"] == ["/v1/config"]
        assert again.batches()[-1].config == told
        assert {run.collector for run in again.runs(since)} == {"host_load"}
