"""Writes the tables of options in the roles' READMEs, from their argument specifications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

COLLECTION = Path(__file__).parents[2] / "ansible"
ROLES = tuple(sorted(path for path in (COLLECTION / "roles").iterdir() if path.is_dir()))
AGENT = COLLECTION / "roles/agent"

_BEGIN = "<!-- Between these lines: written by `python -m tests.ansible.options`, compared by a test. -->\n"
_END = "<!-- End of the options. -->\n"

Options = Mapping[str, Mapping[str, Any]]


def specified(role: Path) -> dict[str, Options]:
    """The options of each of the role's entry points, by their names."""
    document = yaml.safe_load((role / "meta/argument_specs.yml").read_text())
    return {name: point.get("options", {}) for name, point in document["argument_specs"].items()}


def defaults(role: Path) -> dict[str, Any]:
    """The values of options that are not given."""
    found: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text())
    return found


def written(role: Path) -> str:
    """The role's README with its table as the specification has it."""
    before, _, rest = (role / "README.md").read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = ["| option | type | default | what |", "|---|---|---|---|", *_rows(specified(role)["main"], "")]
    return before + _BEGIN + "\n" + "\n".join(lines) + "\n\n" + _END + after


def _rows(options: Options, prefix: str) -> Iterator[str]:
    for name, option in options.items():
        kind = f"{option['type']} of {option['elements']}" if "elements" in option else option["type"]
        yield f"| `{prefix}{name}` | {kind} | {_default(option)} | {option['description']} |"
        nested = "[]." if option["type"] == "list" else "."
        yield from _rows(option.get("options", {}), f"{prefix}{name}{nested}")


def _default(option: Mapping[str, Any]) -> str:
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    value = option["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else '`""`'


if __name__ == "__main__":
    for each in ROLES:
        (each / "README.md").write_text(written(each))
