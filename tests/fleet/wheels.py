"""What is carried to the hosts: our wheel, built from this tree, and those of everything it needs."""

from __future__ import annotations

import hashlib
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

from tests.fleet.hosts import run
from tests.nursery import ROOT


def wheels(folder: Path, cache: Path, python: str, extra: str = "agent") -> Path:
    """A new folder of wheels for a host with this Python; what is not ours is downloaded once."""
    found = folder / f"wheels-{extra}-{python}"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", found, ROOT)
    (ours,) = found.glob("pganalytics-*.whl")
    # The versions that the tests run with: pip takes no constraints with hashes where a requirement has none.
    pinned = sorted({f"{each.name}=={each.version}" for each in distributions() if each.name != "pganalytics"})
    kept = cache / f"wheels-{extra}-{python}-{hashlib.sha256(chr(10).join(pinned).encode()).hexdigest()[:12]}"
    if not kept.exists():
        constraints, scratch = folder / "constraints.txt", kept.with_suffix(".new")
        constraints.write_text("\n".join(pinned))
        shutil.rmtree(scratch, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
        chosen = ("--only-binary=:all:", "--python-version", python, "--constraint", constraints)
        run(*pip, *chosen, "--dest", scratch, f"{ours}[{extra}]")
        (scratch / ours.name).unlink()
        scratch.rename(kept)
    for wheel in kept.iterdir():
        shutil.copy(wheel, found)
    return found
