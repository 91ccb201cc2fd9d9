"""What takes long to make and is kept: archives of the hosts' file systems, by releases of Debian."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fleet.hosts import run

#: Where it is kept.
CACHE = Path(os.environ.get("PGANALYTICS_FLEET_CACHE") or Path(__file__).parents[2] / ".cache/hosts").resolve()

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "iproute2", "ca-certificates", "procps"),
    *("python3", "python3-venv", "sudo", "postgresql", "logrotate"),
)


@contextmanager
def made_once(kept: Path) -> Iterator[Path | None]:
    """The path at which this is to be made, which then takes its place in the cache; None if it is there.

    Another process that wants the same waits.
    """
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_name(f"{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            yield None
            return
        scratch = kept.with_name(f"new-{kept.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        yield scratch
        scratch.rename(kept)


def base_image(release: str) -> Path:
    """The archive of a host's file system, made once; another list of packages makes another."""
    packages = ",".join(_PACKAGES)
    image = CACHE / f"{release}-{hashlib.sha256(packages.encode()).hexdigest()[:12]}.tar"
    with made_once(image) as scratch:
        if scratch is None:
            return image
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")]
        try:
            run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *excluded, release, scratch)
        except AssertionError as error:
            pytest.skip(f"Debian's {release} cannot be had here: {error}")
    return image
