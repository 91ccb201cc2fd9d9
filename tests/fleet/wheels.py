"""What is carried to the hosts: our wheel, built from this tree, and those of everything it needs."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

from tests.fleet.hosts import run
from tests.fleet.images import CACHE, made_once
from tests.nursery import ROOT


def wheels(folder: Path, python: str, extra: str = "agent") -> Path:
    """A new folder of wheels for a host with this Python; what is not ours is downloaded once."""
    found = folder / f"wheels-{extra}-{python}"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", found, ROOT)
    (ours,) = found.glob("pganalytics-*.whl")
    # The versions that the tests run with: pip takes no constraints with hashes where a requirement has none.
    pinned = sorted({f"{each.name}=={each.version}" for each in distributions() if each.name != "pganalytics"})
    kept = CACHE / f"wheels-{extra}-{python}-{hashlib.sha256(chr(10).join(pinned).encode()).hexdigest()[:12]}"
    with made_once(kept) as scratch:
        if scratch is not None:
            constraints = folder / "constraints.txt"
            constraints.write_text("\n".join(pinned))
            pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
            chosen = ("--only-binary=:all:", "--python-version", python, "--constraint", constraints)
            run(*pip, *chosen, "--dest", scratch, f"{ours}[{extra}]")
            (scratch / ours.name).unlink()
    for wheel in kept.iterdir():
        shutil.copy(wheel, found)
    return found


#: The file and the line that a broken wheel has otherwise, so that the program does not start.
_BREAKS = {
    "agent": ("agent/service.py", b"    taken = _read(path)\n"),
    "standalone": ("infra/standalone/server.py", b"    os.umask(0o077)\n"),
}


def other_version(wheels: Path, version: str, folder: Path, *, broken: str = "") -> Path:
    """The same wheels, with ours as another version; a program that is broken can be installed, and does not start."""
    shutil.copytree(wheels, folder)
    (ours,) = folder.glob("pganalytics-*.whl")
    before = ours.name.split("-")[1]
    made = folder / ours.name.replace(before, version, 1)
    file, line = _BREAKS.get(broken, ("", b""))
    with zipfile.ZipFile(ours) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".dist-info/METADATA"):
                data = data.replace(f"\nVersion: {before}\n".encode(), f"\nVersion: {version}\n".encode(), 1)
            elif entry.filename.endswith(".dist-info/RECORD"):
                data = data.replace(f"pganalytics-{before}.".encode(), f"pganalytics-{version}.".encode())
            elif entry.filename == "contracts/version.py":
                data = data.replace(before.encode(), version.encode())
            elif entry.filename == file:
                assert line in data, f"{file} has no line {line!r} to break"
                data = data.replace(line, b"    raise SystemExit('this wheel is broken')\n", 1)
            new.writestr(entry.filename.replace(f"pganalytics-{before}.", f"pganalytics-{version}."), data)
    ours.unlink()
    return folder
