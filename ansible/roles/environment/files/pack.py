"""Packs files into an archive, which is whole where it is there: `python pack.py ARCHIVE FILE...`."""

import sys
import tarfile
import tempfile
from pathlib import Path

archive, *files = map(Path, sys.argv[1:])
archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
scratch = Path(tempfile.mkstemp(dir=archive.parent)[1])
with tarfile.open(scratch, mode="w") as packed:
    for file in files:
        packed.add(file, arcname=file.name)
scratch.replace(archive)
