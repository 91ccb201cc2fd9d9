"""The lock of packages, checked without a network: whole, pinned by hash, what is declared, and what is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = (ROOT / "requirements.lock", *sorted((ROOT / "tests" / "matrix").glob("*.lock")))

_PIN = re.compile(r"[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==[0-9][0-9A-Za-z.+!]*( ; .+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def _entries(lock: Path) -> list[list[str]]:
    """Each package of a lock: its requirement, and what follows it."""
    lines = [line for line in lock.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "\n\t", "\n".join(lines))
    return [[part.strip() for part in entry.split("\n\t")] for entry in re.split(r"\n(?!\t)", whole)]


def _pinned() -> dict[str, list[Requirement]]:
    """What the lock has of each package; of some there is a version for each Python."""
    found: dict[str, list[Requirement]] = {}
    for requirement, *_ in _entries(LOCKS[0]):
        pin = Requirement(requirement)
        found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def _declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    lists += project["dependency-groups"].values()
    texts = [each for declared in lists for each in declared if isinstance(each, str)]
    return [each for each in map(Requirement, texts) if each.name != "pganalytics"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_is_one_version_by_its_hashes_and_comes_from_no_named_place(lock: Path) -> None:
    entries = _entries(lock)
    assert entries
    for requirement, *hashes in entries:
        assert _PIN.fullmatch(requirement), requirement
        assert hashes, requirement
        assert all(map(_HASH.fullmatch, hashes)), requirement


def test_every_package_that_is_declared_is_pinned_to_a_version_that_will_do() -> None:
    pinned = _pinned()
    for declared in _declared():
        pins = pinned.get(canonicalize_name(declared.name))
        assert pins, f"{declared.name} is not in the lock: make lock"
        for pin in pins:
            (exact,) = pin.specifier
            assert declared.specifier.contains(exact.version), f"{pin} is not {declared}: make lock"


def test_what_is_installed_is_what_is_pinned() -> None:
    """The packages that the other tests ran with are those that an installation has."""
    for name, pins in _pinned().items():
        for pin in pins:
            if pin.marker is None or pin.marker.evaluate():
                try:
                    installed = version(name)
                except PackageNotFoundError:
                    pytest.fail(f"{name} is not installed: make install")
                assert pin.specifier.contains(installed), f"{name} {installed} is installed, {pin} pinned: make install"


def test_no_installed_package_lacks_or_contradicts_another() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_other_package_has_a_name_of_ours() -> None:
    """It would be imported in our place: the command `pganalytics` would not start."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = packages_distributions()
    for ours in project["tool"]["importlinter"]["root_packages"]:
        assert set(installed.get(ours, ())) <= {"pganalytics"}, ours
