"""The functions' artifacts for this machine and this Python, built once for all workers of a run, and while nothing
that goes into them changes.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.build import ROOT

PYTHON = ".".join(map(str, sys.version_info[:2]))
ARCH = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"

#: What has Linux's wheels runs on Linux.
ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="artifacts have Linux's wheels: they run on Linux")

_CACHE = ROOT / ".cache" / "artifacts"
_KEPT_SECONDS = 3600
_SOURCES = (
    "contracts",
    "functions",
    "infra/build.py",
    "infra/bytecode.py",
    "infra/packages.py",
    "infra/database",
    "pyproject.toml",
    "requirements.lock",
)
_SUFFIXES = {".py", ".json", ".sql", ".toml", ".lock"}


@dataclass(frozen=True)
class Built:
    """One function's artifact, and where it is unzipped."""

    function: str
    path: Path
    sha256: str
    bytes: int
    unzipped_bytes: int
    task: Path


def run_build(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.build", *map(str, arguments)]
    told = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)


def built(out: Path, *arguments: str, **environment: str) -> dict[str, Built]:
    """Build these functions' artifacts into a folder, or all of them, and unzip each."""
    done = run_build(*arguments, "--arch", ARCH, "--python", PYTHON, "--out", out, "--json", **environment)
    assert done.returncode == 0, done.stderr
    (out / "built.json").write_text(done.stdout)
    found = _read(out)
    for each in found.values():
        with zipfile.ZipFile(each.path) as zipped:
            zipped.extractall(each.task)
    return found


@functools.cache
def artifacts() -> Mapping[str, Built]:
    """Every artifact, by the function's name."""
    folder = _CACHE / _key()
    with _alone():
        if not (folder / "whole").exists():
            for other in _CACHE.glob("*"):
                if other == folder or other.stat().st_mtime < time.time() - _KEPT_SECONDS:
                    shutil.rmtree(other, ignore_errors=True)  # built in part, or of sources of long ago
            folder.mkdir(parents=True)
            built(folder)
            (folder / "whole").touch()
    return _read(folder)


def _read(folder: Path) -> dict[str, Built]:
    told = json.loads((folder / "built.json").read_text())
    found = [
        Built(
            function=each["function"],
            path=folder / f"{each['function']}.zip",
            sha256=each["sha256"],
            bytes=each["bytes"],
            unzipped_bytes=each["unzipped_bytes"],
            task=folder / each["function"],
        )
        for each in told
    ]
    return {each.function: each for each in found}


def _key() -> str:
    told = hashlib.sha256(f"{ARCH} {sys.version}".encode())
    for path in sorted(_files()):
        told.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return told.hexdigest()[:16]


def _files() -> Iterator[Path]:
    for name in _SOURCES:
        path = ROOT / name
        yield from (each for each in ([path] if path.is_file() else path.rglob("*")) if each.suffix in _SUFFIXES)


@contextmanager
def _alone() -> Iterator[None]:
    _CACHE.parent.mkdir(exist_ok=True)
    with (_CACHE.parent / "artifacts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
