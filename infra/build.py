"""Builds the functions' artifacts: one zip each, and the same bytes from the same sources.

Usage: python -m infra.build [FUNCTION...] [--arch arm64] [--python 3.13] [--out build] [--json]

Packages are those of requirements.lock, for Lambda's Python, whatever machine this is (`infra.packages`). Where it has
that Python, too, modules are compiled beforehand (`infra.bytecode`), and the bytes are those of that Python's very
version; where it has not, an artifact works, and each cold start takes twice as long.

The AWS SDK goes into the artifact although Lambda's runtime has one, so that what was tested is what runs; of its
descriptions of services only those that are called stay: 1.2 MB of a zip instead of 17.2 (botocore 1.44).
"""

from __future__ import annotations

import hashlib
import json
import stat
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from infra.bytecode import beside, compile_all, instead, interpreter
from infra.packages import Arch, BuildError, Installed, Runtime, install

ROOT = Path(__file__).parent.parent

FUNCTIONS = ("authorizer", "config", "ingest", "maintenance", "migrations", "query")

# Where a function's own code stands, if not in `functions/`.
_ELSEWHERE = {"migrations": "infra/database"}

#: Lambda unpacks 250 MB; but what is unpacked is what a cold start waits for.
MAX_UNZIPPED_BYTES = 40 * 1024 * 1024

_OWN_SUFFIXES = {".py", ".json", ".sql"}
_MODE = (stat.S_IFREG | 0o644) << 16
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell


@dataclass(frozen=True)
class Artifact:
    """One function's zip; `compiled_by` is the Python whose bytecode is in it, None where there is none."""

    function: str
    path: str
    sha256: str
    bytes: int
    unzipped_bytes: int
    compiled_by: str | None


def build(functions: Sequence[str], runtime: Runtime, out: Path) -> Iterator[Artifact]:
    """Build the functions' artifacts as `out/<function>.zip`, each told when it stands.

    Raises:
        BuildError: a source is missing, a package has no wheel for this Python, or its hash is not the lock's.
    """
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    lock = _text("requirements.lock")
    needs = {name: (*project["dependencies"], *project["optional-dependencies"][name]) for name in functions}
    with tempfile.TemporaryDirectory(prefix="pganalytics-build-") as scratch:
        everything = list(dict.fromkeys(each for wanted in needs.values() for each in wanted))
        installed = install(everything, lock, runtime, Path(scratch, "installed"))
        compiled_by, entries = _entries(needs, installed, Path(scratch))
        for function in functions:
            yield _write(function, entries[function], out, compiled_by)


def _entries(
    needs: Mapping[str, Sequence[str]], installed: Installed, scratch: Path
) -> tuple[str | None, dict[str, dict[str, Path]]]:
    """What compiled, and every function's files by their places in its artifact."""
    theirs = {function: installed.files(wanted) for function, wanted in needs.items()}
    own = {function: _own(function) for function in needs}
    program = interpreter(installed.runtime.python)
    if program is None:
        return None, {function: {**theirs[function], **own[function]} for function in needs}
    python = installed.runtime.python
    entries: dict[str, dict[str, Path]] = {}
    packaged = {name: path for files in theirs.values() for name, path in files.items() if path.suffix == ".py"}
    ours = {name: path for files in own.values() for name, path in files.items() if path.suffix == ".py"}
    by, bytecode = compile_all({**packaged, **ours}, program, _folder(scratch / "bytecode"))
    for function in needs:
        entries[function] = {
            **{instead(n) if n in bytecode else n: bytecode.get(n, path) for n, path in theirs[function].items()},
            **own[function],
            **{beside(name, python): bytecode[name] for name in own[function] if name in bytecode},
        }
    return by, entries


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _text(name: str) -> str:
    try:
        return (ROOT / name).read_text()
    except OSError as error:
        raise BuildError(f"{ROOT / name}: {error.strerror}; artifacts are built from a checkout") from error


def _own(function: str) -> dict[str, Path]:
    """The contracts, what all functions share, and the function itself; no other."""
    own = _ELSEWHERE.get(function, f"functions/{function}")
    shared = [path for path in (ROOT / "functions").iterdir() if path.is_file()]
    packages = [path for part in ("contracts", own) for path in (ROOT / part).rglob("*")]
    sources = [path for path in (*shared, *packages) if path.suffix in _OWN_SUFFIXES]
    return {path.relative_to(ROOT).as_posix(): path for path in sources}


def _write(function: str, entries: Mapping[str, Path], out: Path, compiled_by: str | None) -> Artifact:
    unzipped = sum(path.stat().st_size for path in entries.values())
    if unzipped > MAX_UNZIPPED_BYTES:
        raise BuildError(f"{function}: {unzipped} bytes unzipped; it may have {MAX_UNZIPPED_BYTES}: what is it for?")
    path, scratch = out / f"{function}.zip", out / f".{function}.zip.new"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(scratch, "w") as zipped:
            for name in sorted(entries):
                entry = zipfile.ZipInfo(name, _NO_TIME)
                entry.create_system, entry.external_attr, entry.compress_type = 3, _MODE, zipfile.ZIP_DEFLATED
                zipped.writestr(entry, entries[name].read_bytes(), compresslevel=6)
        scratch.rename(path)
    except OSError as error:
        raise BuildError(f"{out}: {error.strerror}; give --out a folder that can be written") from error
    data = path.read_bytes()
    return Artifact(function, str(path), hashlib.sha256(data).hexdigest(), len(data), unzipped, compiled_by)


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
            for artifact in build(names, Runtime(arch, python), out):
                built.append(artifact)
                size = f"{artifact.bytes / 1e6:.1f} MB, {artifact.unzipped_bytes / 1e6:.1f} unzipped"
                console.print(f"{artifact.path}  {size}  {artifact.sha256}", soft_wrap=True, highlight=False)
        if any(each.compiled_by is None for each in built):
            told = f"without bytecode, for there is no python{python} here: each cold start takes twice as long"
            console.print(told, soft_wrap=True, highlight=False)
    except BuildError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps([asdict(artifact) for artifact in built], indent=2))


if __name__ == "__main__":
    typer.run(main)
