"""Loading again from the command line: what it says, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from contracts.codec import decode, encode, sha256
from contracts.objects import key_of
from functions.ingest.bucket import DirectoryBucket
from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import SECONDS, batch, connected, loaded, new_store, until
from tests.nursery import ROOT


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name in [name for name in os.environ if name.startswith("PGANALYTICS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def store(server: EmbeddedPostgres) -> str:
    return new_store(server)


def put(bucket: Path, data: bytes) -> str:
    key = str(key_of(decode(data), sha256(data)))
    DirectoryBucket(bucket).create(key, data)
    return key


def poison(bucket: Path) -> str:
    data = batch()
    key = str(key_of(decode(data), sha256(data)))
    DirectoryBucket(bucket).create(key, data[:-20])
    return key


def run(bucket: Path | str, *arguments: str | Path, store: str = "", **environment: str) -> Result:
    url = bucket if isinstance(bucket, str) else f"file://{bucket}"
    given = environment | ({"PGANALYTICS_STORE_DSN": store} if store else {})
    return CliRunner().invoke(app, ["replay", "--bucket-url", url, *map(str, arguments)], env=given)


def told(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_everything_is_loaded_once(bucket: Path, store: str) -> None:
    for seq in range(3):
        put(bucket, batch(seq))
    first = run(bucket, store=store)
    assert (first.exit_code, first.stderr) == (0, "")
    assert "3 objects: 3 loaded, 0 there already, 0 in quarantine, 0 failed; 3 rows" in first.stdout
    again = told(run(bucket, "--json", store=store))
    assert (again["objects"], again["new"], again["already"], again["rows"]) == (3, 0, 3, 0)
    assert loaded(store) == 3


def test_what_is_at_fault_is_named_and_the_exit_code_says_so(bucket: Path, store: str) -> None:
    key = poison(bucket)
    put(bucket, batch())
    result = run(bucket, store=store)
    assert result.exit_code == 1
    assert f"{key}: not gzip" in result.stderr
    again = run(bucket, "--quarantined", "--json", store=store)
    assert again.exit_code == 1
    assert told(again)["problems"] == [{"object_key": key, "reason": "not gzip: the data ends too early"}]
    assert told(again)["objects"] == 1


def test_a_dry_run_says_what_it_would_do(bucket: Path, store: str) -> None:
    put(bucket, batch())
    result = run(bucket, "--dry-run", store=store)
    assert (result.exit_code, result.stdout) == (0, "1 objects: 1 that the store has not, 0 that it has\n")
    assert loaded(store) == 0


def test_agents_and_times_are_a_choice(bucket: Path, store: str) -> None:
    for agent in ("db-1", "db-2", "db-3"):
        put(bucket, batch(agent_id=agent))
    of_two = run(bucket, "--agent", "db-1", "--agent", "db-2", "--dry-run", "--json", store=store)
    assert told(of_two)["objects"] == 2
    before = run(bucket, "--to", "2020-01-01", "--json", store=store)
    assert (before.exit_code, told(before)["objects"]) == (0, 0)
    assert told(run(bucket, "--from", "2020-01-01T00:00:00+02:00", "--json", store=store))["new"] == 3


def test_another_database_may_stand_in_the_stores_place(
    bucket: Path, store: str, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    put(bucket, batch())
    other, third = new_store(server), tmp_path / "third"
    third.write_text(new_store(server) + "\n")
    third.chmod(0o600)
    assert run(bucket, "--into", other, store=store).exit_code == 0
    assert run(bucket, "--into-file", third, store=store).exit_code == 0
    assert [loaded(dsn) for dsn in (store, other, third.read_text())] == [0, 1, 1]


def test_what_the_retention_leaves_out_is_said(bucket: Path, store: str) -> None:
    data = batch()
    old = decode(data)
    day = 86_400 * 1_000_000
    aged = old.model_copy(
        update={
            "sent_at": old.sent_at - 9 * day,
            "frames": tuple(
                each.model_copy(update={"collected_at": each.collected_at - 9 * day}) for each in old.frames
            ),
            "runs": (),
        }
    )
    put(bucket, encode(aged))
    result = run(bucket, "--keep-days", "7", store=store)
    assert "1 frames are older than --keep-days and were left out" in result.stdout
    assert told(run(bucket, "--json", store=store))["beyond_retention"] == 0  # loaded already: nothing was left out now


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--from: not before --to"),
        (("--from", "2026-01-01T10:00:00"), "--from 2026-01-01T10:00:00: an instant with its zone"),
        (("--to", "0001-01-01"), "--to 0001-01-01: an instant with its zone"),
        (("--agent", "DB 1"), "--agent DB 1: not the id of an agent"),
        (("--into", "host=db password=the-secret"), "put the text into --into-file"),
        (("--into", "postgresql://me:the-secret@db/store"), "put the text into --into-file"),
        (("--into", "nonsense"), "--into: not a connection string"),
        (("--into-file", "/nonexistent"), "--into-file /nonexistent: No such file"),
        (("--into", "dbname=a", "--into-file", "b"), "either --into or --into-file"),
        ((), "PGANALYTICS_STORE_DSN"),
        (("--keep-days", "0"), "--keep-days"),
    ],
)
def test_a_wrong_call_names_what_to_mend(bucket: Path, arguments: tuple[str, ...], names: str) -> None:
    result = run(bucket, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert names in result.stderr
    assert "the-secret" not in result.stderr


def test_a_bucket_that_is_none_or_not_there(bucket: Path, store: str) -> None:
    none = run("ftp://x", store=store)
    assert (none.exit_code, "--bucket-url: a bucket is" in none.stderr) == (2, True)
    away = run(bucket / "none", store=store)
    assert (away.exit_code, "No such file or directory" in away.stderr) == (1, True)


def test_a_store_that_is_away_or_was_never_migrated(bucket: Path, server: EmbeddedPostgres) -> None:
    put(bucket, batch())
    away = run(bucket, store="host=127.0.0.1 port=1 password=the-password")
    assert (away.exit_code, "the store is not available" in away.stderr) == (1, True)
    assert "the-password" not in away.stderr
    bare = run(bucket, store=server.dsn())
    assert (bare.exit_code, "pganalytics migrate" in bare.stderr) == (2, True)


@pytest.mark.processes
def test_a_terminal_sees_how_it_goes(bucket: Path, store: str) -> None:
    for seq in range(125):
        put(bucket, batch(seq, stream_id=UUID(int=1)))
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "replay", "--bucket-url", f"file://{bucket}"],
            cwd=ROOT,
            env={**os.environ, "PGANALYTICS_STORE_DSN": store, "TERM": "xterm", "LINES": "30"},
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # which is how a terminal ends
            while part := terminal.read(4096):
                seen += part
        stdout, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert b"125 objects: 125 loaded" in stdout
    assert b"125 objects, 125 rows; now agent=db-1/dt=" in seen
    # The bar at its beginning, and at its end.
    assert [share in seen for share in (b" 0%", b"100%")] == [True, True], seen


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_chunks_with_what_was_done(bucket: Path, store: str, number: int) -> None:
    for seq in range(250):
        put(bucket, batch(seq))
    with connected(store) as connection:
        connection.execute(
            """
            create function wait() returns trigger language plpgsql as
                $$ begin perform pg_advisory_xact_lock_shared(7); return null; end $$;
            create trigger wait after insert on store.ledger for each statement execute function wait();
            """
        )
        connection.execute("select pg_advisory_lock(7)")
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "replay", "--json", "--bucket-url", f"file://{bucket}"],
            cwd=ROOT,
            env={**os.environ, "PGANALYTICS_STORE_DSN": store},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def waits() -> bool:
            row = connection.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted")
            return row.fetchone() == (1,)

        try:
            until(waits)
            process.send_signal(number)
            _until_handled(process.pid, number)
            connection.execute("select pg_advisory_unlock(7)")
            stdout, stderr = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait()
    assert (process.returncode, stderr) == (128 + number, "")
    summary = json.loads(stdout)
    assert (summary["stopped"], summary["objects"], summary["new"]) == (True, 100, 100)
    assert loaded(store) == 100


def _until_handled(pid: int, number: int) -> None:
    """Wait until the process has no such signal pending."""

    def pending() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd")))

    until(lambda: not pending() & (1 << (number - 1)))
