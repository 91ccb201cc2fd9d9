"""A configuration document in a file: TOML, YAML or JSON, by its suffix; nothing in it is lost in silence."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from contracts.configuration import Group
from contracts.overlay import Fault, OverlayError, check

#: The table in a group's file that says which agents it has; it is no part of the document.
GROUP_KEY = "group"


class FileError(Exception):
    """The file is of no use; `faults` has everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says: a document, and which agents its group has if it is one's."""

    document: dict[str, Any]
    group: Group | None = None


def read(path: Path) -> Said:
    """What this file says, checked as the server would.

    Raises:
        FileError: it cannot be read, or says what no server would save.
    """
    said = _parsed(path)
    group, faults = _group(said.pop(GROUP_KEY, None))
    try:
        check(said)
    except OverlayError as error:
        faults += error.faults
    if faults:
        raise FileError(faults)
    return Said(said, group)


def _parsed(path: Path) -> dict[str, Any]:
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise FileError([Fault("", f"its name ends in none of {', '.join(_PARSERS)}, which say what form it has")])
    try:
        said = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError([Fault("", error.strerror or type(error).__name__)]) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise FileError([Fault("", f"cannot be read: {_problem(error)}")]) from error
    if not isinstance(said, dict):
        raise FileError([Fault("", f"a table of keys is expected, not {type(said).__name__}")])
    return said


def _group(said: object) -> tuple[Group | None, list[Fault]]:
    if said is None:
        return None, []
    try:
        return Group.model_validate(said), []
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        return None, [Fault(".".join(map(str, (GROUP_KEY, *each["loc"]))), _of_group(each)) for each in faults]


def _of_group(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no such key; there is {', '.join(Group.model_fields)}"
    return f"{error['msg']}, not {error['input']!r}"


def _json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name} stands twice")
        found[name] = value
    return found


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # its package has no types
    """YAML without its ways to say more than data; and a key that stands twice is an error, as YAML itself has it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names: list[object] = []
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in names:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name} stands twice", key.start_mark)
            names.append(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _yaml(text: str) -> object:
    said = yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    return {} if said is None else said


def _problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


_PARSERS: Mapping[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
}
