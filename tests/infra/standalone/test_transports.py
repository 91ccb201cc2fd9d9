"""The real agent, by each of its ways out, into a real S3, and from there into the store: everything once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from contracts.document import Document, VersionedDocument
from contracts.objects import agent_prefix, parse_key
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.program import Agent
from tests.infra.standalone.serving import connected, new_store, serving, until
from tests.s3 import AGENTS, BUCKET, REGION, S3, SERVER

pytestmark = pytest.mark.processes

AGENT = AGENTS[0]

_UPLOAD = {
    "http": "",
    "presigned": '[upload]\ntransport = "presigned"\n',
    "s3": '[upload]\ntransport = "s3"\nbucket = "{bucket}"\nregion = "{region}"\nendpoint_url = "{url}"\n',
}


def seqs_in_bucket(s3: S3, stream: str) -> set[int]:
    """The bucket is shared: other tests put objects of other streams, and of other names, under the same agent."""
    return {parse_key(key).seq for key in s3.objects(prefix=agent_prefix(AGENT)) if f"/{stream}-" in key}


def seqs_in_store(dsn: str, stream: str) -> set[int]:
    with connected(dsn) as connection:
        rows = connection.execute("select seq from store.ledger where stream_id = %s", (stream,)).fetchall()
    return {seq for (seq,) in rows}


def samples(dsn: str) -> int:
    with connected(dsn) as connection:
        row = connection.execute("select count(*) from metric.agent_health").fetchone()
    return int(row[0]) if row else 0


def hasten(dsn: str, state: Path) -> None:
    """A batch and a sample a second: from the server, and where there is none as the last good document."""
    document = Document.model_validate({"upload_every_seconds": 1, "metrics": {"agent_health": {"every_seconds": 1}}})
    with connected(dsn) as connection:
        connection.execute(
            "insert into store.document values ('fleet', 1, %s::jsonb, 'x', 'test', 'haste')",
            (document.model_dump_json(),),
        )
    state.mkdir()
    kept = {"etag": '"1"', "answer": VersionedDocument(version=1, document=document).model_dump(mode="json")}
    (state / "configuration.json").write_text(json.dumps(kept))


@pytest.mark.parametrize("transport", _UPLOAD)
def test_what_an_agent_collects_arrives_in_the_store_once(
    transport: str, server: EmbeddedPostgres, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, agent = new_store(server), Agent(tmp_path)
    hasten(dsn, agent.state)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    bucket = ("--bucket-url", f"s3://{BUCKET}")
    with monkeypatch.context() as of_the_server:
        for name, value in s3.environment(SERVER).items():
            of_the_server.setenv(name, value)
        with serving(tmp_path / "server", dsn, *bucket) as running, monkeypatch.context() as of_the_agent:
            for name in s3.environment(SERVER):
                of_the_agent.delenv(name)
            if transport == "s3":  # as the host's credentials: nothing of them stands in agent.toml
                account = s3.environment(AGENT)
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                    of_the_agent.setenv(name, account[name])
            upload = _UPLOAD[transport].format(bucket=BUCKET, region=REGION, url=s3.url)
            agent.write(upload, url=None if transport == "s3" else running.url, token=running.token())
            assert agent.ask("check").stdout == "db-1, not enrolled\n"
            with agent.running() as process:
                until((agent.state / "spool" / "stream.json").exists)
                stream = json.loads((agent.state / "spool" / "stream.json").read_text())["stream_id"]
                until(lambda: len(seqs_in_bucket(s3, stream)) >= 3)
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
        # Of what did not come through its door, a server without notifications learns at its next start.
        with serving(tmp_path / "server", dsn, *bucket) as running:
            sent = seqs_in_bucket(s3, stream)
            until(lambda: seqs_in_store(dsn, stream) == sent)
            assert sent == set(range(len(sent)))
            assert samples(dsn) > 0
    told = agent.log.read_text()
    assert "X-Amz-" not in told
    assert "Traceback" not in told
