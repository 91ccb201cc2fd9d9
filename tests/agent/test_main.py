"""Promises of the command: `once`, `check` and `run` as real processes, with exit codes that scripts can trust."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from contracts.batch import Batch, Status
from contracts.metrics import METRICS
from contracts.version import __version__
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.door import Answer, Asked, Door, configuration, problem
from tests.agent.polling import until
from tests.agent.program import Agent, target
from tests.agent.targets.watching import databases
from tests.nursery import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.any_version]

NO_HOST = "[host]\nenabled = false\n"


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


@pytest.fixture
def log_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "postgresql.log").write_text("")
    return folder


@pytest.fixture
def sessions(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        yield connection


def agents_sessions(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select count(*) from pg_stat_activity where application_name = 'pganalytics-agent'"
    ).fetchone()
    return int(row[0]) if row else 0


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0)
    return {one["what"]: (one["problem"], one["mend"]) for one in found["findings"]}


def test_once_shows_every_metric_as_the_batch_that_would_be_sent(
    agent: Agent, server: EmbeddedPostgres, log_folder: Path, sessions: psycopg.Connection
) -> None:
    agent.write(target(server.dsn(), f'[targets.log]\nfiles = ["{log_folder}/*.log"]\n'), url=None)
    done = agent.ask("once", "--json")
    assert done.returncode == 0, done.stderr
    batch = Batch.model_validate_json(done.stdout)
    assert {run.collector for run in batch.runs} == {metric.name for metric in METRICS}
    newer = {run.collector for run in batch.runs if "came with version" in (run.detail or "")}
    assert {run.status for run in batch.runs if run.collector not in newer} <= {Status.OK, Status.EMPTY}
    without = {metric.name for metric in METRICS} - {frame.metric for frame in batch.frames}
    assert without <= {"log_event", *newer}
    assert not agent.state.exists(), "nothing is stored"
    until(lambda: agents_sessions(sessions) == 0)


def test_the_agent_reads_itself_also_where_it_does_not_read_its_host(agent: Agent, server: EmbeddedPostgres) -> None:
    agent.write(NO_HOST + target(server.dsn()), url=None)
    batch = Batch.model_validate_json(agent.ask("once", "--json").stdout)
    of_the_host = {run.collector: run.status for run in batch.runs if run.target == "host"}
    assert of_the_host == {"agent_health": Status.OK, "agent_target": Status.OK}


def test_once_shows_a_table_to_people(agent: Agent, server: EmbeddedPostgres) -> None:
    agent.write(NO_HOST + target(server.dsn()), url=None)
    done = agent.ask("once")
    assert done.returncode == 0, done.stderr
    assert "database_stats" in done.stdout


def test_what_once_could_not_read_is_shown_as_it_was_said(agent: Agent) -> None:
    agent.write(NO_HOST + target("host=/[bold]:key: port=1"), url=None)
    done = agent.ask("once")
    # A long detail takes several lines of its own column, the others being empty there.
    assert "/[bold]:key:/" in re.sub(r"[│\s]", "", done.stdout), done.stdout + done.stderr


def test_check_finds_nothing_where_nothing_is_missing(
    agent: Agent, server: EmbeddedPostgres, open_door: Door, sessions: psycopg.Connection
) -> None:
    open_door.answer = lambda _: configuration(1, {}, '"one"')
    agent.write(target(server.dsn()), url=open_door.url)
    done = agent.ask("check", "--json")
    assert findings(done) == {}
    assert done.returncode == 0
    until(lambda: agents_sessions(sessions) == 0)


def test_check_names_what_is_missing_and_how_to_mend_it(
    agent: Agent, server: EmbeddedPostgres, sessions: psycopg.Connection, tmp_path: Path
) -> None:
    sessions.execute("create role humble login")
    files = f'[targets.log]\nfiles = ["{tmp_path}/no/*.log"]\n'
    gone = f'[[targets]]\nname = "gone"\ndsn = "host=127.0.0.1 port=1"\n{files}'
    try:
        with databases(server, "bare") as (name,):
            agent.write(target(server.dsn(name, user="humble")) + gone, token=None)
            done = agent.ask("check", "--json")
            told = agent.ask("check")
    finally:
        sessions.execute("drop role humble")
    assert done.returncode == told.returncode == 1
    found = findings(done)
    assert set(found) == {"server.token_file", "target main", "target gone", "target gone, log.files"}
    assert "No such file or directory" in found["server.token_file"][0]
    assert "Connection refused" in found["target gone"][0]
    assert found["target gone, log.files"][0] == f"no file matches {tmp_path}/no/*.log"
    assert 'ERROR   target main: role humble is not a monitor; grant pg_monitor to "humble"' in told.stdout
    assert "WARNING target main: pg_stat_statements is not there; create extension pg_stat_statements" in told.stdout
    assert "Traceback" not in told.stderr


def test_check_tells_of_rows_that_take_a_right_of_their_own(
    agent: Agent, server: EmbeddedPostgres, sessions: psycopg.Connection
) -> None:
    sessions.execute("create role monitor login; grant pg_monitor to monitor; create table kept (id serial)")
    agent.write(target(server.dsn(user="monitor")), token=None)
    try:
        told = agent.ask("check").stdout
    finally:
        sessions.execute("drop table kept; drop role monitor")
    for metric, grant in (("sequence", "select on the sequences"), ("bloat", "select on the tables")):
        line = rf"WARNING target main, postgres: {metric}: \d+ of \d+ are withheld; grant {grant} to the role"
        assert re.search(line, told)


@pytest.mark.parametrize("status", [301, 401, 500])
def test_check_asks_the_server(agent: Agent, open_door: Door, status: int) -> None:
    open_door.answer = lambda _: Answer(status, {"Location": open_door.url})
    agent.write("", url=open_door.url)
    done = agent.ask("check", "--json")
    assert done.returncode == 1
    ((what, (problem, _)),) = findings(done).items()
    assert what == ("server.token_file" if status in {401, 403} else "server.url")
    assert str(status) in problem
    assert "a-token" not in done.stdout + done.stderr


@pytest.mark.parametrize(("transport", "asked"), [("presigned", 2), ("http", 1)])
def test_check_asks_for_an_address_where_batches_go_that_way(
    agent: Agent, open_door: Door, transport: str, asked: int
) -> None:
    def answer(asked: Asked) -> Answer:
        return configuration(1, {}, '"1"') if asked.method == "GET" else problem(501, "a folder; use transport http")

    open_door.answer = answer
    agent.write(f'[upload]\ntransport = "{transport}"\n', url=open_door.url)
    done = agent.ask("check", "--json")
    assert len(open_door.asked) == asked
    if transport == "http":
        assert findings(done) == {}
    else:
        assert "use transport http" in findings(done)["upload.transport"][0]


def test_check_misses_no_server_where_batches_go_straight_into_the_bucket(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    agent.write('[upload]\ntransport = "s3"\nbucket = "batches"\n', url=None)
    found = findings(agent.ask("check", "--json"))
    assert list(found) == ["upload.transport"]
    assert "no credentials for the bucket" in found["upload.transport"][0]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert findings(agent.ask("check", "--json")) == {}


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_authority_that_is_missing_is_named(agent: Agent, command: str) -> None:
    agent.write("")
    text = agent.settings.read_text().replace("token_file", 'ca_file = "/nowhere/ca.pem"\ntoken_file')
    agent.settings.write_text(text)
    done = agent.ask(command)
    assert done.returncode == (1 if command == "check" else 2)
    assert "server.ca_file" in done.stdout + done.stderr
    assert "/nowhere/ca.pem" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_check_as_another_user_names_what_that_user_may_not(
    agent: Agent, server: EmbeddedPostgres, log_folder: Path, tmp_path: Path
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (log_folder / "postgresql.log").chmod(0o600)
    log = f'[targets.log]\nfiles = ["{log_folder}/*.log", "{hidden}/*.log"]\n'
    agent.write(target(server.dsn(), log), url=None)
    agent.settings.write_text(agent.settings.read_text().replace(str(agent.state), f"{hidden}/state/of/agent"))
    done = agent.ask_as_nobody("check", "--json")
    assert done.stdout, done.stderr
    assert done.returncode == 1
    problems = "\n".join(one["problem"] for one in json.loads(done.stdout)["findings"])
    assert f"{hidden} cannot be written" in problems
    assert f"{log_folder}/postgresql.log cannot be read" in problems
    assert f"cannot read {hidden}" in problems
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "content"), [("run", 'agent_id = "db-1"\nserverr = 1'), ("once", "agent_id ="), ("check", None)]
)
def test_bad_settings_end_with_2_and_a_line_that_names_them(agent: Agent, command: str, content: str | None) -> None:
    if content is not None:
        agent.settings.write_text(content)
    done = agent.ask(command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"pganalytics-agent: {agent.settings}: ")
    assert done.stderr.count("\n") == 1


def test_run_without_a_server_or_a_place_for_the_spool_ends_with_2(agent: Agent) -> None:
    agent.write("", url=None)
    done = agent.ask("run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "add [server] with url" in done.stderr
    agent.state.write_text("a file")
    agent.write("")
    done = agent.ask("run")
    assert done.returncode == 2
    assert f"the spool {agent.state}/spool: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version() -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "agent.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert all(command in said("--help") for command in ("run", "once", "check", "spool", "version"))
    assert said("version") == f"{__version__}\n"
