"""A whole installation, as its commands make it: no secret of it shows anywhere, and it ends when it is told to."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import urllib3

from contracts.codec import inflate
from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres, embedded_postgres
from tests.agent.polling import until as polled
from tests.infra.standalone.serving import connected, until
from tests.servers import in_memory
from tests.whole.seen import Seen, watching_command_lines
from tests.whole.story import AGENT, Story, installed, private

pytestmark = pytest.mark.processes

_LOGGED = {"logging_collector": "on", "log_destination": "jsonlog", "log_min_duration_statement": "0"}


@pytest.fixture(scope="module")
def watched() -> Iterator[EmbeddedPostgres]:
    settings = {**THROWAWAY, **_LOGGED, "shared_preload_libraries": "pg_stat_statements"}
    with embedded_postgres(settings, below=in_memory()) as running:
        yield running


@pytest.fixture
def story(server: EmbeddedPostgres, watched: EmbeddedPostgres, tmp_path: Path) -> Iterator[Story]:
    with installed(tmp_path / "whole", server, watched, Seen()) as running:
        yield running


def batches(dsn: str, agent_id: str = AGENT) -> int:
    with connected(dsn) as connection:
        row = connection.execute("select count(*) from store.ledger where agent_id = %s", (agent_id,)).fetchone()
    return int(row[0]) if row else 0


def hurry(dsn: str) -> None:
    """A batch a second, with readings as often."""
    body = {"upload_every_seconds": 1, "pull_every_seconds": 1, "metrics": {"agent_health": {"every_seconds": 1}}}
    with connected(dsn) as connection:
        connection.execute(
            "insert into store.document values ('fleet', 1, %s::jsonb, 'x', 'test', 'haste')", (json.dumps(body),)
        )


def test_a_client_that_holds_its_connection_does_not_hold_up_the_end_of_the_server(story: Story) -> None:
    context = ssl.create_default_context(cafile=story.tls.ca_file)
    with (
        socket.create_connection(story.served.address) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as held,
    ):
        held.sendall(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held.recv(100).startswith(b"HTTP/1.1 200")
        story.served.process.send_signal(signal.SIGTERM)
        assert story.served.process.wait(20) == 0  # asyncio's own patience is 30 s


def test_a_running_agent_obeys_what_is_applied_and_what_is_released(story: Story) -> None:
    hurry(story.dsn)
    agent, token = story.agent(), story.enrolment_token("--label", "environment=production", "--label", "canary=true")
    assert story.enrol(agent, token).returncode == 0

    def configuration() -> dict[str, Any]:
        kept: dict[str, Any] = json.loads((agent.state / "configuration.json").read_text())["answer"]["document"]
        return kept

    def states() -> dict[str, int]:
        counts: dict[str, int] = json.loads(story.say("config", "status", "--json"))["counts"]
        return {state: number for state, number in counts.items() if number}

    def released() -> dict[str, Any]:
        status: dict[str, Any] = json.loads(story.say("release", "status", "--json"))
        return status

    group, fleet = story.folder / "production.toml", story.folder / "fleet.toml"
    group.write_text("full_every_seconds = 600\n")
    with agent.running() as process:
        until(lambda: batches(story.dsn) >= 1)
        story.say("config", "apply", group, "--scope", "group:production", "--selector", "environment=production")
        until(lambda: configuration()["full_every_seconds"] == 600)
        explained = json.loads(story.say("config", "show", "--agent", AGENT, "--explain", "--json"))
        assert explained["origins"]["full_every_seconds"] == "group:production"
        assert explained["origins"]["pull_every_seconds"] == "fleet"
        until(lambda: states() == {"current": 1})

        fleet.write_text(
            "pull_every_seconds = 1\nupload_every_seconds = 1\nstatement_timeout_ms = 4321\n"
            "metrics.agent_health.every_seconds = 1\n"
        )
        story.say("config", "apply", fleet, "--draft")
        assert configuration()["statement_timeout_ms"] == 5000
        # On a busy machine a reading may time out, which is all of one agent; tests of the gates are elsewhere.
        gates = "errors=100%,agent_cpu=off,db_time=off"
        story.say("release", "start", "--stages", "canary,100%", "--bake", "1s", "--gate", gates)
        until(lambda: configuration()["statement_timeout_ms"] == 4321)
        # Two stages, looked at every ten seconds; one that was halted says why.
        polled(lambda: released()["state"] != "running", 120)
        ended = released()
        assert ended["state"] == "done", ended
        story.say("config", "rollback", "1")
        until(lambda: configuration()["statement_timeout_ms"] == 5000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_what_betrays_a_secret_is_found() -> None:
    token, password = f"pge_{'x' * 43}", "plant-1"
    seen = Seen(
        {"a log": f"used {token}", "another": f"with {password}", "a third": "nothing"}, {"a password": password}
    )
    assert seen.betrayed() == ["a password in another", "an enrolment token in a log"]


def test_no_secret_is_seen_anywhere(story: Story, server: EmbeddedPostgres) -> None:
    seen = story.seen
    with watching_command_lines(seen):
        hurry(story.dsn)
        url = story.served.url
        agent, token = story.agent(), story.enrolment_token()
        assert story.enrol(agent, token).returncode == 0
        story.say(
            "users", "create", "bob", "--role", "viewer", "--password-file", story.password("bob"), "--server", url
        )
        story.say(
            "login",
            "--server",
            url,
            "--user",
            "bob",
            "--password-file",
            private(story.folder / "no", "x" * 20),
            ok=False,
        )
        with psycopg.connect(story.watched.dsn(), autocommit=True) as connection:
            connection.execute("create extension if not exists pg_stat_statements")
            seen.planted["a literal of a query"] = "plant-literal-9f1"
            connection.execute("select 'plant-literal-9f1'")
            with pytest.raises(psycopg.Error):
                connection.execute("select 1/0, 'plant-literal-9f1'")
        with agent.running() as process:
            until(lambda: batches(story.dsn) >= 5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        seen.add("the agent's log", agent.log.read_text())
        for what in ("once", "check", "spool"):
            done = agent.ask(what, "--json")
            seen.add(f"output of {what}", done.stdout + done.stderr)
        for nonsense in ("x.y.z", "Bearer", "eyJhbGciOiJub25lIn0.e30."):
            with urllib3.PoolManager(ca_certs=str(story.tls.ca_file)) as pool:
                answer = pool.request("GET", f"{url}/v1/agents", headers={"Authorization": f"Bearer {nonsense}"})
            assert answer.status in {401, 403}
            seen.add("the server's answers", f"{dict(answer.headers)} {answer.data.decode()}")
        assert story.served.stop() == 0
    seen.add("the server's log", "\n".join(map(str, story.served.lines)))
    for path in (story.folder / "data").rglob("*.json.gz"):
        seen.add("batches", inflate(path.read_bytes()).decode())
    seen.add("store: everything", server.run("pg_dump", "--dbname", story.dsn, "--data-only").stdout)
    for path in agent.state.rglob("*"):
        if path.is_file() and path.name != "key.pem" and path.suffix != ".gz":
            seen.add("the agent's state", path.read_text(errors="replace"))
    assert {"batches", "command lines", "the agent's log", "the server's log", "store: everything"} <= set(seen.texts)
    assert all(len(seen.texts[place]) > 100 for place in ("batches", "command lines", "the server's log"))
    assert len(seen.planted) >= 8
    assert seen.betrayed() == []
