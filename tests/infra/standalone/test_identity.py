"""The whole way in real processes: an operator's command, the server, an agent that enrols, uploads, and is revoked."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.authority import Authority
from tests.agent.program import Agent
from tests.infra.standalone.serving import command, connected, loaded, new_store, serving, until
from tests.infra.standalone.test_transports import hasten

pytestmark = pytest.mark.processes


def _one(dsn: str, query: bytes) -> object:
    with connected(dsn) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_an_agent_enrols_uploads_and_is_revoked(server: EmbeddedPostgres, tmp_path: Path, mutual: bool) -> None:
    dsn, agent, tls = new_store(server), Agent(tmp_path), Authority(tmp_path)
    authority, clients = tmp_path / "authority.pem", tmp_path / "agents-ca.pem"
    assert command("authority", "create", "--authority-file", authority).returncode == 0
    clients.write_text(command("authority", "show", "--authority-file", authority).stdout)
    hasten(dsn, agent.state)
    options: list[str | Path] = [
        "--tls-cert",
        tls.server_chain,
        "--tls-key",
        tls.server_chain,
        "--authority-file",
        authority,
    ]
    options += ["--client-ca", clients] if mutual else []
    with serving(tmp_path / "server", dsn, *options) as running:
        operator = {"PGANALYTICS_SERVER": running.url, "PGANALYTICS_CA": str(tls.ca_file)}
        operator["PGANALYTICS_TOKEN"] = running.token("--operator", "ann", "--role", "admin")
        token = tmp_path / "enrolment"
        token.write_text(command("enrolment", "create", **operator).stdout)
        agent.settings.write_text(
            f'state_directory = "{agent.state}"\n[server]\nurl = "{running.url}"\nca_file = "{tls.ca_file}"\n'
        )
        enrolled = agent.ask("enrol", "--token-file", str(token), "--agent-id", "db-117")
        assert (enrolled.returncode, enrolled.stderr) == (0, ""), enrolled
        again = agent.ask("enrol", "--token-file", str(token))
        assert "db-117 is enrolled already" in again.stdout
        checked = agent.ask("check")
        assert checked.returncode == 0, checked
        with agent.running() as process:
            until(lambda: loaded(dsn) >= 2)
            assert _one(dsn, b"select agent_id from store.agent") == "db-117"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        revoked = command("agents", "revoke", "db-117", "--reason", "stolen", **operator)
        assert (revoked.returncode, revoked.stderr) == (0, "revoked db-117\n")
        assert agent.ask("check").returncode != 0
        audit = b"select string_agg(action || ' ' || outcome, ', ' order by id) from identity.audit"
        assert _one(dsn, audit) == "enrolment.create done, agent.enrol done, agent.revoke done"
        assert token.read_text().strip()[4:] not in str(running.lines)
        assert running.stop() == 0
