"""Reads the Terraform module as text: `terraform fmt` puts a block's last brace where its first line begins."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from functions.environment import Environment
from infra.build import ROOT

FOLDER = ROOT / "infra" / "aws"


@dataclass(frozen=True)
class Function:
    """One entry of `local.functions`."""

    name: str
    artifact: str
    handler: str
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


def text() -> str:
    return "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))


def blocks(kind: str) -> dict[str, str]:
    """The bodies of all blocks of one kind, such as `variable`, or `resource "aws_sqs_queue"`, by name."""
    return dict(re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', text(), re.MULTILINE | re.DOTALL))


def functions() -> Iterator[Function]:
    entries = text().partition("\n  functions = {\n")[2].partition("\n  }\n")[0]
    for name, body in re.findall(r"^    (\w+) = {\n(.*?)^    }$", entries + "\n", re.MULTILINE | re.DOTALL):
        said = dict(re.findall(r'^      (\w+) += "(.*)"$', body, re.MULTILINE))
        may = re.search(r"may += \[(.*)\]", body)
        assert may is not None, name
        yield Function(
            name=name,
            artifact=said["artifact"],
            handler=said["handler"],
            may=frozenset(re.findall(r"local\.(\w+)", may[1])),
            environment=frozenset(re.findall(r"(PGANALYTICS_\w+) +=", body)),
        )


def routes() -> dict[str, tuple[str, bool]]:
    """Function and openness of each entry of `local.routes`."""
    found = re.findall(r'^    "(\w+ /\S+)" += { function = "(\w+)", open = (true|false) }$', text(), re.MULTILINE)
    return {key: (function, is_open == "true") for key, function, is_open in found}


def zips(folder: Path) -> Path:
    """A folder with a small zip for each artifact, where what is in it does not matter."""
    for artifact in {function.artifact for function in functions()}:
        with zipfile.ZipFile(folder / f"{artifact}.zip", "w") as zipped:
            zipped.writestr("functions/__init__.py", "")
    return folder
