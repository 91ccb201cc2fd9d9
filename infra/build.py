"""Builds the functions' artifacts: one zip each, and the same bytes from the same sources.

Usage: python -m infra.build [FUNCTION...] [--arch arm64] [--python 3.13] [--out build] [--json]

Packages are those of requirements.lock and nothing else: pip works out which of them a function needs, then installs
these by their hashes for Lambda's Python, whatever machine this is. Nothing of them is run here.

The AWS SDK goes into the artifact although Lambda's runtime has one, so that what was tested is what runs; of its
descriptions of services only those that are called stay, which makes it 1.2 MB of a zip instead of 17.2 (boto3 1.44).
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import Annotated, NoReturn

import typer
from rich.console import Console

ROOT = Path(__file__).parent.parent

FUNCTIONS = ("authorizer", "config", "ingest", "maintenance", "migrations", "query")

# Where a function's own code stands, if not in `functions/`.
_ELSEWHERE = {"migrations": "infra/database"}

#: The services whose clients the functions make; a test compares this with the code.
SERVICES = ("s3", "secretsmanager", "sqs")

#: Lambda unpacks no more than this.
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024

_OWN_SUFFIXES = {".py", ".json", ".sql"}
# What pip writes about its own work: paths of this machine, and a list that no longer fits what is left out.
_NOISE = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_MODE = (stat.S_IFREG | 0o644) << 16
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell


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
class Artifact:
    """One function's zip."""

    function: str
    path: str
    sha256: str
    bytes: int
    unzipped_bytes: int


def build(functions: Sequence[str], arch: Arch, python: str, out: Path) -> Iterator[Artifact]:
    """Build the functions' artifacts as `out/<function>.zip`, each told when it stands.

    Raises:
        BuildError: a source is missing, a package has no wheel for this Python, or its hash is not the lock's.
    """
    lock = _lock(_text("requirements.lock"))
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    with tempfile.TemporaryDirectory(prefix="pganalytics-build-") as scratch:
        installed: dict[tuple[str, ...], Path] = {}  # functions that need the same share an installation
        for function in functions:
            needs = (*project["dependencies"], *project["optional-dependencies"][function])
            if needs not in installed:
                installed[needs] = Path(scratch, str(len(installed)))
                _install(needs, lock, arch, python, installed[needs])
            entries = {**_packages(installed[needs]), **_own(function)}
            yield _write(function, entries, out)


def _text(name: str) -> str:
    try:
        return (ROOT / name).read_text()
    except OSError as error:
        raise BuildError(f"{ROOT / name}: {error.strerror}; artifacts are built from a checkout") from error


def _lock(text: str) -> dict[str, str]:
    """What the lock says about each package, hashes included, by its name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(==.+(?:\n +--hash=.+)*)", text, re.MULTILINE)
    return {_canonical(name): f"{name}{rest}\n" for name, rest in found}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _install(needs: Sequence[str], lock: Mapping[str, str], arch: Arch, python: str, target: Path) -> None:
    target.mkdir()
    pins, report, chosen = (target.with_suffix(suffix) for suffix in (".pins", ".report", ".chosen"))
    pins.write_text("".join(each.split(" \\")[0] + "\n" for each in lock.values()))
    wanted = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", f"--target={target}"]
    wanted += [f"--platform={tag}_{arch.machine}" for tag in _tags(python)]
    _pip(["--dry-run", f"--report={report}", f"--constraint={pins}", *wanted, *needs])
    names = [_canonical(each["metadata"]["name"]) for each in json.loads(report.read_text())["install"]]
    if unknown := sorted(name for name in names if name not in lock):
        raise BuildError(f"requirements.lock does not have {', '.join(unknown)}: make lock")
    chosen.write_text("".join(lock[name] for name in sorted(names)))
    _pip(["--require-hashes", "--no-deps", "--no-compile", f"--requirement={chosen}", *wanted])
    _complete(target, python)


def _tags(python: str) -> tuple[str, ...]:
    # Lambda's Python 3.11 stands on glibc 2.26, and every newer one on 2.34. A tag is the oldest that will do.
    newest = 26 if _minor(python) < 12 else 34
    return ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, newest + 1)))


def _minor(python: str) -> int:
    if not re.fullmatch(r"3\.\d\d", python) or int(python[2:]) < 11:
        raise BuildError(f"--python: {python} is none of Lambda's that will do; 3.11 or newer, such as 3.13")
    return int(python[2:])


def _pip(arguments: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        raise BuildError("pip: " + " ".join(told))


def _complete(target: Path, python: str) -> None:
    # pip reads a requirement's `python_version < "3.13"` for the Python that runs it, not for the one asked for.
    found = {_canonical(each.name): each for each in distributions(path=[str(target)])}
    for name, each in found.items():
        for requirement in each.requires or ():
            needed, _, marker = requirement.partition(";")
            versions = re.fullmatch(r"""\s*python_version\s*(<|>=)\s*["']3\.(\d+)["']\s*""", marker)
            if versions is None:
                continue
            bound = int(versions[2])
            applies = _minor(python) < bound if versions[1] == "<" else _minor(python) >= bound
            wanted = re.match(r"[A-Za-z0-9._-]+", needed)
            if applies and wanted and _canonical(wanted[0]) not in found:
                running = ".".join(map(str, sys.version_info[:2]))
                raise BuildError(f"{name} needs {wanted[0]} on Python {python}, which pip under {running} left out")


def _packages(target: Path) -> dict[str, Path]:
    found = (path for path in target.rglob("*") if path.is_file())
    return {name: path for path in found if _kept(PurePosixPath(name := path.relative_to(target).as_posix()))}


def _kept(name: PurePosixPath) -> bool:
    parts = name.parts
    if parts[0] == "bin" or {"tests", "__pycache__"} & set(parts):
        return False
    if parts[0].endswith(".dist-info") and len(parts) == 2 and parts[1] in _NOISE:
        return False
    # Migrations are few statements: SQLAlchemy's compiled parts, which it does without, are a third of their artifact.
    if parts[0] == "sqlalchemy" and name.suffix == ".so":
        return False
    of_service = parts[:2] in {("botocore", "data"), ("boto3", "data")} and len(parts) > 3
    return not of_service or parts[2] in SERVICES


def _own(function: str) -> dict[str, Path]:
    """The contracts, what all functions share, and the function itself; no other."""
    own = _ELSEWHERE.get(function, f"functions/{function}")
    shared = [path for path in (ROOT / "functions").iterdir() if path.is_file()]
    packages = [path for part in ("contracts", own) for path in (ROOT / part).rglob("*")]
    sources = [path for path in (*shared, *packages) if path.suffix in _OWN_SUFFIXES]
    return {path.relative_to(ROOT).as_posix(): path for path in sources}


def _write(function: str, entries: Mapping[str, Path], out: Path) -> Artifact:
    unzipped = sum(path.stat().st_size for path in entries.values())
    if unzipped > MAX_UNZIPPED_BYTES:
        raise BuildError(f"{function}: {unzipped} bytes unzipped; Lambda takes {MAX_UNZIPPED_BYTES}")
    path, scratch = out / f"{function}.zip", out / f".{function}.zip.new"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(scratch, "w") as zipped:
            for name in sorted(entries):
                entry = zipfile.ZipInfo(name, _NO_TIME)
                entry.create_system, entry.external_attr, entry.compress_type = 3, _MODE, zipfile.ZIP_DEFLATED
                zipped.writestr(entry, entries[name].read_bytes(), compresslevel=9)
        scratch.rename(path)
    except OSError as error:
        raise BuildError(f"{out}: {error.strerror}; give --out a folder that can be written") from error
    data = path.read_bytes()
    return Artifact(function, str(path), hashlib.sha256(data).hexdigest(), len(data), unzipped)


def _names(functions: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in functions if name not in FUNCTIONS]:
        raise BuildError(f"there is no function {', '.join(unknown)}; there are {', '.join(FUNCTIONS)}")
    return tuple(dict.fromkeys(functions)) or FUNCTIONS


def _fail(message: str) -> NoReturn:
    typer.echo(f"infra.build: {message}", err=True)
    raise typer.Exit(2)


def main(
    functions: Annotated[
        list[str] | None, typer.Argument(metavar="[FUNCTION]...", help="All, if none is named.")
    ] = None,
    arch: Annotated[Arch, typer.Option(help="Lambda's architecture.")] = Arch.ARM64,
    python: Annotated[str, typer.Option(help="Lambda's Python.")] = "3.13",
    out: Annotated[Path, typer.Option(help="Folder of the zips.")] = Path("build"),
    as_json: Annotated[bool, typer.Option("--json", help="Print what was built as JSON.")] = False,  # noqa: FBT002
) -> None:
    """Build the functions' artifacts."""
    console = Console(stderr=True)
    built: list[Artifact] = []
    try:
        names = _names(functions or ())
        with console.status(f"building {', '.join(names)}"):
            for artifact in build(names, arch, python, out):
                built.append(artifact)
                size = f"{artifact.bytes / 1e6:.1f} MB, {artifact.unzipped_bytes / 1e6:.1f} unzipped"
                console.print(f"{artifact.path}  {size}  {artifact.sha256}", soft_wrap=True, highlight=False)
    except BuildError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps([asdict(artifact) for artifact in built], indent=2))


if __name__ == "__main__":
    typer.run(main)
