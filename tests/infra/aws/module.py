"""Reads the Terraform module as HCL: texts as they are, expressions as `${…}`."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hcl2.api import loads

from functions.environment import Environment
from infra.build import ROOT

FOLDER = ROOT / "infra" / "aws"

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """One entry of `local.functions`."""

    name: str
    artifact: str
    handler: str
    timeout: int
    may: frozenset[str]
    environment: frozenset[str]

    @property
    def module(self) -> str:
        return self.handler.rpartition(".")[0]

    @property
    def settings(self) -> type[Environment]:
        """The model that its handler reads from the environment, or what its routes share, `parts`."""
        package = self.module.rpartition(".")[0]
        shared = f"{package}.parts"
        for module in (self.module, shared if find_spec(shared) else self.module):
            there = [each for each in vars(import_module(module)).values() if isinstance(each, type)]
            found = [each for each in there if issubclass(each, Environment) and each.__module__.startswith(package)]
            if len(found) == 1:
                return found[0]
        raise AssertionError(f"{self.name}: it is not one model that {self.module} reads")


@functools.cache
def parsed() -> tuple[Body, ...]:
    """The module's files, comments included."""
    return tuple(loads(path.read_text()) for path in sorted(FOLDER.glob("*.tf")))


@functools.cache
def text() -> str:
    return "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))


def declared(kind: str) -> dict[str, Body]:
    """The bodies of `variable` or `output` blocks, by name."""
    return {name: body for file in parsed() for block in file.get(kind, ()) for name, body in block.items()}


def resources(kind: str, of: str = "resource") -> dict[str, Body]:
    """The bodies of all resources (or `data`) of one type, by name."""
    blocks = [block for file in parsed() for block in file.get(of, ()) if kind in block]
    return {name: body for block in blocks for name, body in block[kind].items()}


def types(of: str) -> set[str]:
    """The types of all resources, or of all `data`."""
    return {kind for file in parsed() for block in file.get(of, ()) for kind in block if not kind.startswith("__")}


def local(name: str) -> Any:
    """The value of a local, wherever it is said."""
    (found,) = [block[name] for file in parsed() for block in file.get("locals", ()) if name in block]
    return found


def given(body: Body) -> dict[str, Any]:
    """What a block says, without what the parser adds."""
    return {name: value for name, value in body.items() if not name.startswith("__")}


def functions() -> Iterator[Function]:
    of_store = {"PGANALYTICS_STORE_DSN_SECRET", "PGANALYTICS_STORE_AT"}
    assert all(name in local("store_environment") for name in of_store)
    for name, body in given(local("functions")).items():
        yield Function(
            name=name,
            artifact=body["artifact"],
            handler=body["handler"],
            timeout=local("loader_timeout") if body["timeout"] == "${local.loader_timeout}" else body["timeout"],
            may=frozenset(each.removeprefix("${local.").removesuffix("}") for each in body["may"]),
            environment=frozenset(given(body["environment"])) | (of_store if body["uses_store"] else set()),
        )


def routes() -> dict[str, tuple[str, bool]]:
    """Function and openness of each entry of `local.routes`."""
    return {key: (route["function"], route["open"]) for key, route in given(local("routes")).items()}


def zips(folder: Path) -> Path:
    """A folder with a small zip for each artifact, where what is in it does not matter."""
    for artifact in {function.artifact for function in functions()}:
        with zipfile.ZipFile(folder / f"{artifact}.zip", "w") as zipped:
            zipped.writestr("functions/__init__.py", "")
    return folder
