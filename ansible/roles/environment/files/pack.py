"""Packs files into an archive, which is whole where it is there: `python pack.py ARCHIVE FILE...`."""

import sys
import tarfile
import tempfile
from pathlib import Path

archive, *files = map(Path, sys.argv[1:])
archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
with tempfile.NamedTemporaryFile(dir=archive.parent, delete=False) as scratch:
    with tarfile.open(fileobj=scratch, mode="w") as packed:
        for file in files:
            packed.add(file, arcname=file.name)
Path(scratch.name).replace(archive)
