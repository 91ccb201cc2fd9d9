"""The releases of Debian that hosts run, and the Python that one of them has to be brought."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.hosts import run
from tests.fleet.images import CACHE, made_once

#: Where a host that has none finds a Python that is new enough.
CARRIED_PYTHON = "/opt/python3.11/bin/python3.11"


@dataclass(frozen=True)
class Release:
    """`python` is the version that the agent runs with, `postgresql` the major version of the release's own."""

    name: str
    python: str
    postgresql: int


BOOKWORM = Release("bookworm", "3.11", 15)
TRIXIE = Release("trixie", "3.13", 17)
#: Its own Python is 3.9.
BULLSEYE = Release("bullseye", "3.11", 13)

# Bookworm's, with bookworm's libraries, C's among them and all parts of that, and pip's wheel; it looks for all of them
# beside itself.
_MAKE = """
set -e
place=/opt/python3.11 wheels=/usr/share/python-wheels
mkdir -p $place/bin $place/lib $place/wheels
cp /usr/bin/python3.11 $place/bin/
cp -r /usr/lib/python3.11 $place/lib/
cp $wheels/pip-*.whl $wheels/setuptools-*.whl $place/wheels/
sed -i "s#$wheels#$place/wheels#" $place/lib/python3.11/_sysconfigdata__*.py
ldd $place/bin/python3.11 $place/lib/python3.11/lib-dynload/*.so | grep -o '/[^ ]*\\.so[^ ]*' | sort -u |
    grep -v "^$place" | xargs cp -L -t $place/lib
cp -L $(dpkg --listfiles libc6 libgcc-s1 libstdc++6 | grep -E '/lib[a-z_+]+[.]so[.][0-9]+$') $place/lib
loader=$(ls $place/lib/ld-linux*)
patchelf --force-rpath --set-rpath $place/lib --set-interpreter $loader $place/bin/python3.11
"""


def carried_python() -> Path:
    """The archive of a Python 3.11 that runs on older releases, at `CARRIED_PYTHON`; made once."""
    archive = CACHE / f"python-{hashlib.sha256(_MAKE.encode()).hexdigest()[:12]}.tar"
    with made_once(archive) as scratch:
        if scratch is None:
            return archive
        script = scratch.with_suffix(".sh")
        script.write_text(_MAKE)
        run(
            *("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3-venv,patchelf", "--format=null"),
            *(f"--customize-hook=chroot $1 sh < {script.resolve()}",),
            *(f"--customize-hook=tar -C $1 -cf {scratch.resolve()} opt/python3.11", BOOKWORM.name, "-"),
        )
        script.unlink()
    return archive
