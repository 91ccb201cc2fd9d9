"""The packages that functions need, for Lambda's Python and whatever machine this is.

They are those of requirements.lock and nothing else: pip works out which of them are needed, then installs these by
their hashes. Which of them one function needs, their own metadata say. Nothing of them is run here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: The services whose clients the functions make; a test compares this with the code.
SERVICES = ("s3", "secretsmanager", "sqs")

# What pip writes about its own work: paths of this machine, and a list that no longer fits what is left out.
_NOISE = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}

# For compilers and type checkers; and the page that Powertools would show an API by.
_UNUSED_SUFFIXES = {".pyi", ".pyx", ".pxd", ".c", ".h", ".js", ".css"}

# What argon2 was made with, Pydantic's older self and what others may have of it, and zones beside the system's.
_UNUSED = {
    ("cffi",),
    ("pycparser",),
    ("pydantic", "v1"),
    ("pydantic", "mypy.py"),
    ("pydantic", "_hypothesis_plugin.py"),
    ("dateutil", "zoneinfo", "dateutil-zoneinfo.tar.gz"),
}

_UTILITIES = ("aws_lambda_powertools", "utilities")

#: The parts of Powertools' utilities that functions use, and their own modules; a test compares this with the code.
UTILITIES = ("data_classes", "jmespath_utils", "typing", "__init__.py", "serialization.py")


class BuildError(Exception):
    """An artifact cannot be built; the message names what to mend."""


class Arch(StrEnum):
    """Architectures of Lambda."""

    ARM64 = "arm64"
    X86_64 = "x86_64"

    @property
    def machine(self) -> str:
        """As wheels' tags have it."""
        return "aarch64" if self is Arch.ARM64 else "x86_64"


@dataclass(frozen=True)
class Runtime:
    """What artifacts are built for: Lambda's Python, such as 3.13, and its architecture."""

    arch: Arch
    python: str

    @property
    def minor(self) -> int:
        if not re.fullmatch(r"3\.\d\d", self.python) or int(self.python[2:]) < 11:
            raise BuildError(f"--python: {self.python} is none of Lambda's that will do; 3.11 or newer, such as 3.13")
        return int(self.python[2:])

    @property
    def tags(self) -> tuple[str, ...]:
        # Lambda's Python 3.11 stands on glibc 2.26, and every newer one on 2.34. A tag is the oldest that will do.
        newest = 26 if self.minor < 12 else 34
        return ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, newest + 1)))

    @property
    def markers(self) -> dict[str, str]:
        """What a requirement's conditions are held against (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.arch.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


@dataclass(frozen=True)
class Installed:
    """Packages in one folder, for one runtime."""

    folder: Path
    runtime: Runtime

    def files(self, needs: Iterable[str]) -> dict[str, Path]:
        """Every file of what these requirements need, by its place, but for what no function uses.

        Raises:
            BuildError: a package that is needed is not there.
        """
        names = sorted(str(file) for name in self._needed(needs) for file in self._found[name].files or ())
        there = ((name, self.folder / name) for name in names if _kept(PurePosixPath(name)))
        return {name: path for name, path in there if path.is_file()}

    @cached_property
    def _found(self) -> dict[str, Distribution]:
        return {canonicalize_name(each.name): each for each in distributions(path=[str(self.folder)])}

    def _needed(self, needs: Iterable[str]) -> set[str]:
        seen: dict[str, set[str]] = {}  # and with which extras
        wanted = [(Requirement(text), "this project") for text in needs]
        while wanted:
            requirement, by = wanted.pop()
            name = canonicalize_name(requirement.name)
            if name in seen and requirement.extras <= seen[name]:
                continue
            if name not in self._found:  # pip reads conditions for the Python that runs it, not for the one asked for
                running = ".".join(map(str, sys.version_info[:2]))
                told = f"{by} needs {name} on Python {self.runtime.python}, which pip under {running} left out"
                raise BuildError(f"{told}; build with a newer Python")
            extras = seen.setdefault(name, set())
            extras |= requirement.extras
            for text in self._found[name].requires or ():
                further = Requirement(text)
                if self._applies(further, extras):
                    wanted.append((further, name))
        return set(seen)

    def _applies(self, requirement: Requirement, extras: set[str]) -> bool:
        if requirement.marker is None:
            return True
        return any(requirement.marker.evaluate({**self.runtime.markers, "extra": extra}) for extra in ("", *extras))


def install(needs: Sequence[str], lock: str, runtime: Runtime, folder: Path) -> Installed:
    """Install what all of these requirements need into a new folder, as the text of the lock pins it.

    Raises:
        BuildError: a package has no wheel for this Python, is not in the lock, or its hash is not the lock's.
    """
    folder.mkdir()
    locked = _locked(lock)
    pins, report, chosen = (folder.with_suffix(suffix) for suffix in (".pins", ".report", ".chosen"))
    pins.write_text("".join(each.split(" \\")[0] + "\n" for each in locked.values()))
    wanted = ["--only-binary=:all:", "--implementation=cp", f"--python-version={runtime.python}", f"--target={folder}"]
    wanted += [f"--platform={tag}_{runtime.arch.machine}" for tag in runtime.tags]
    _pip(["--dry-run", f"--report={report}", f"--constraint={pins}", *wanted, *needs])
    names = [canonicalize_name(each["metadata"]["name"]) for each in json.loads(report.read_text())["install"]]
    if unknown := sorted(name for name in names if name not in locked):
        raise BuildError(f"requirements.lock does not have {', '.join(unknown)}: make lock")
    chosen.write_text("".join(locked[name] for name in sorted(names)))
    _pip(["--require-hashes", "--no-deps", "--no-compile", f"--requirement={chosen}", *wanted])
    _trim_endpoints(folder / "botocore" / "data" / "endpoints.json")
    return Installed(folder, runtime)


def _locked(text: str) -> Mapping[str, str]:
    """What the lock says about each package, hashes included, by its name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(==.+(?:\n +--hash=.+)*)", text, re.MULTILINE)
    return {canonicalize_name(name): f"{name}{rest}\n" for name, rest in found}


def _pip(arguments: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        raise BuildError("pip: " + " ".join(told))


def _kept(name: PurePosixPath) -> bool:
    parts = name.parts
    if parts[0] in {"..", "bin"} or {"tests", "__pycache__", "sboms"} & set(parts) or name.suffix in _UNUSED_SUFFIXES:
        return False
    if parts[0].endswith(".dist-info") and len(parts) == 2 and parts[1] in _NOISE:
        return False
    if any(parts[:depth] in _UNUSED for depth in (1, 2, 3)) or (parts[:2] == _UTILITIES and parts[2] not in UTILITIES):
        return False
    # Migrations are few statements: SQLAlchemy's compiled parts, which it does without, are a third of their artifact.
    if parts[0] == "sqlalchemy" and name.suffix == ".so":
        return False
    of_service = parts[:2] == ("botocore", "data") and len(parts) > 3
    return not of_service or parts[2] in SERVICES


def _trim_endpoints(file: Path) -> None:
    """Leave the addresses of those services alone: the SDK reads all of them for its first client."""
    if not file.is_file():
        return
    told = json.loads(file.read_text())
    for partition in told["partitions"]:
        partition["services"] = {name: found for name, found in partition["services"].items() if name in SERVICES}
    file.write_text(json.dumps(told, indent=1, sort_keys=True))
