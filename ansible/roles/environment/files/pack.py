"""Packs files into an archive, which is whole where it is there: `python pack.py ARCHIVE FILE...`."""

import os
import sys
import tarfile
import tempfile

archive, *files = sys.argv[1:]
folder = os.path.dirname(archive)
os.makedirs(folder, mode=0o700, exist_ok=True)
with tempfile.NamedTemporaryFile(dir=folder, delete=False) as scratch:
    with tarfile.open(fileobj=scratch, mode="w") as packed:
        for file in files:
            packed.add(file, arcname=os.path.basename(file))
    os.replace(scratch.name, archive)
