from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.build import FUNCTIONS, MAX_UNZIPPED_BYTES, ROOT
from infra.bytecode import interpreter
from infra.packages import SERVICES, UTILITIES, Arch, BuildError, Installed, Runtime
from tests.lambdas.artifacts import ONLY_LINUX, Built, artifacts, built, run_build

_FUNCTIONS_CODE = [*(ROOT / "functions").rglob("*.py"), ROOT / "infra" / "database" / "handler.py"]


@pytest.fixture(scope="module")
def all_built() -> dict[str, Built]:
    return dict(artifacts())


def _declared() -> dict[str, list[str]]:
    """What each extra and each group asks for, and what every part does."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    return {"": project["dependencies"], **project["optional-dependencies"], **told["dependency-groups"]}


def _closure(texts: list[str]) -> set[str]:
    """The packages that these requirements need here, as what is installed says."""
    found: dict[str, set[str]] = {}
    wanted = [Requirement(text) for text in texts]
    while wanted:
        each = wanted.pop()
        name = canonicalize_name(each.name)
        if name in found and each.extras <= found[name]:
            continue
        extras = found.setdefault(name, set())
        extras |= each.extras
        further = [Requirement(text) for text in requires(name) or ()]
        wanted += [
            one
            for one in further
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ]
    return set(found)


def _packages(artifact: Built) -> set[str]:
    return {canonicalize_name(path.name.partition("-")[0]) for path in artifact.task.glob("*.dist-info")}


@ONLY_LINUX
def test_the_same_sources_give_the_same_bytes(all_built: dict[str, Built], tmp_path: Path) -> None:
    """Wherever they are built, and whatever else is built with them."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = os.umask(0o077)
    try:
        elsewhere = {"TMPDIR": str(scratch), "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
        again = built(tmp_path / "out", "authorizer", "ingest", **elsewhere)
    finally:
        os.umask(before)
    assert again.keys() == {"authorizer", "ingest"}
    for name, artifact in again.items():
        assert artifact.sha256 == all_built[name].sha256, name
    for artifact in again.values():
        data = artifact.path.read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact.sha256, artifact.bytes)


@ONLY_LINUX
@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_artifact_has_its_function_and_no_other(all_built: dict[str, Built], function: str) -> None:
    with zipfile.ZipFile(all_built[function].path) as zipped:
        entries = zipped.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    own = {name.split("/")[1] for name in names if re.match(r"(functions|infra)/[a-z]+/", name)}
    assert own == {"database" if function == "migrations" else function}
    assert not [name for name in names if re.search(r"(^|/)tests/|^(agent|cli|bin)/|/RECORD$", name)]
    assert sum(entry.file_size for entry in entries) == all_built[function].unzipped_bytes


@ONLY_LINUX
@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_artifact_is_small(all_built: dict[str, Built], function: str) -> None:
    assert all_built[function].unzipped_bytes <= MAX_UNZIPPED_BYTES <= 40 * 1024 * 1024
    assert all_built[function].bytes < 50 * 1024 * 1024  # so much may be uploaded as it is


@ONLY_LINUX
@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_artifact_has_what_its_extra_needs_and_nothing_of_others(all_built: dict[str, Built], function: str) -> None:
    declared = _declared()
    needed = _closure([*declared[""], *declared[function]])
    # What argon2's binding was made with has no use where it is done.
    assert {*_packages(all_built[function]), "cffi", "pycparser"} >= needed
    assert _packages(all_built[function]) <= needed
    others = [text for part in ("agent", "test", "lint", "build") for text in declared[part]]
    foreign = {canonicalize_name(Requirement(text).name) for text in others} - needed
    assert {"psutil", "apscheduler", "rich", "typer", "pytest", "moto", "awslambdaric"} <= foreign
    assert not foreign & _packages(all_built[function])


@ONLY_LINUX
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_compiled_at_a_cold_start(all_built: dict[str, Built], function: str) -> None:
    """Ours have their sources beside their bytecode, which is held against nothing; packages have bytecode alone."""
    task = all_built[function].task
    ours = {path for part in ("contracts", "functions", "infra") for path in (task / part).rglob("*.py")}
    assert ours
    for path in ours:
        compiled = Path(path.parent, "__pycache__", f"{path.stem}.{sys.implementation.cache_tag}.pyc")
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", path  # unchecked, by its hash (PEP 552)
    assert not [path for path in task.rglob("*.py") if path not in ours and "templates" not in path.parts]


def _imported() -> Iterator[tuple[str, str]]:
    for path in _FUNCTIONS_CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from ((node.module, each.name) for each in node.names)


def test_powertools_keeps_the_utilities_that_the_functions_use() -> None:
    utilities = "aws_lambda_powertools.utilities"
    used = {module.removeprefix(f"{utilities}.").split(".")[0] for module, _ in _imported() if utilities in module}
    assert {"data_classes", "typing"} <= used <= set(UTILITIES)


def test_the_sdk_keeps_the_services_that_the_functions_call() -> None:
    client = re.compile(r'(?:boto3|sdk)\.client\(\s*"(\w+)"')
    called = {name for path in _FUNCTIONS_CODE for name in client.findall(path.read_text())}
    assert called == set(SERVICES)


def test_every_function_has_an_artifact() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/__init__.py")}
    assert set(FUNCTIONS) == functions | {"migrations"}


def test_a_python_that_is_there_by_name_only_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreter("3.99") is None
    assert interpreter("3.98") is None
    assert interpreter(".".join(map(str, sys.version_info[:2]))) == sys.executable


def test_what_pip_left_out_for_another_python_is_named(tmp_path: Path) -> None:
    for name, needs in (("a", ['b; python_version < "3.13"', 'c; extra == "more"']), ("c", [])):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        told = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", "Provides-Extra: more"]
        told += [f"Requires-Dist: {each}" for each in needs]
        (folder / "METADATA").write_text("\n".join([*told, ""]))
        (folder / "RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/METADATA,,\n")
        (tmp_path / f"{name}.py").touch()
    newer = Installed(tmp_path, Runtime(Arch.ARM64, "3.13"))
    assert set(newer.files(["a>=1"])) == {"a.py", "a-1.0.dist-info/METADATA"}
    assert "c.py" in newer.files(["a[more]"])
    with pytest.raises(BuildError, match=r"a needs b on Python 3\.12, which pip under 3\.\d+ left out"):
        Installed(tmp_path, Runtime(Arch.ARM64, "3.12")).files(["a"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "there is no function nothing; there are authorizer"),
        (("query", "--python", "2.7"), "--python: 2.7"),
        (("query", "--arch", "vax"), "arm64"),
    ],
)
def test_a_wrong_word_is_named(arguments: tuple[str, ...], message: str) -> None:
    done: subprocess.CompletedProcess[str] = run_build(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
