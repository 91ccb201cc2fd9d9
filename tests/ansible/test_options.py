"""Every role's options are typed, have the defaults they are said to have, and are all of use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ansible.options import ROLES, Options, defaults, specified, written

_TYPES: dict[str, type] = {
    "str": str,
    "path": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
}

each_role = pytest.mark.parametrize("role", ROLES, ids=[role.name for role in ROLES])


def _sources(role: Path) -> str:
    folders = [role / name for name in ("handlers", "tasks", "templates", "vars")]
    return "\n".join(path.read_text() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())


def _nested(options: Options) -> Iterator[tuple[str, Options]]:
    for name, option in options.items():
        yield name, option
        yield from _nested(option.get("options", {}))


@each_role
def test_the_defaults_are_those_of_the_specification(role: Path) -> None:
    options = specified(role)["main"]
    assert defaults(role) == {name: option["default"] for name, option in options.items() if not option.get("required")}


@each_role
def test_every_default_has_its_options_type(role: Path) -> None:
    options = specified(role)["main"]
    # An expression is a string until it is evaluated; those that stand for one are no others.
    wrong = [name for name, value in defaults(role).items() if type(value) is not _TYPES[options[name]["type"]]]
    assert wrong == []


@each_role
def test_every_option_says_what_it_is_for(role: Path) -> None:
    options = _nested(specified(role)["main"])
    assert [name for name, option in options if not str(option["description"]).endswith(".")] == []


@each_role
def test_every_option_belongs_to_the_role_by_its_name(role: Path) -> None:
    assert [name for name in specified(role)["main"] if not name.startswith(f"pganalytics_{role.name}_")] == []


@each_role
def test_the_other_entry_points_take_the_same_options(role: Path) -> None:
    points = specified(role)
    whole = points.pop("main")
    assert [name for name, options in points.items() if not options.items() <= whole.items()] == []


@each_role
def test_every_entry_point_has_its_tasks(role: Path) -> None:
    assert [name for name in specified(role) if not (role / "tasks" / f"{name}.yml").exists()] == []


@each_role
def test_no_option_is_without_use_and_no_other_variable_is_used(role: Path) -> None:
    used = re.findall(rf"(?<![\w-])pganalytics_{role.name}_\w+", _sources(role))
    assert set(used) == set(specified(role)["main"])


@each_role
def test_the_secrets_are_marked_as_such(role: Path) -> None:
    options = _nested(specified(role)["main"])
    secret = re.compile(r"(^|_)(token|password|passphrase|secret)$")
    assert [name for name, option in options if secret.search(name) and not option.get("no_log")] == []


@each_role
def test_the_readme_has_every_option(role: Path) -> None:
    assert (role / "README.md").read_text() == written(role)
