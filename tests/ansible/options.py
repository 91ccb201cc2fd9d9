"""Writes the table of options in the role's README, from its argument specification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROLE = Path(__file__).parents[2] / "ansible/roles/agent"
README = ROLE / "README.md"

_BEGIN = "<!-- Between these lines: written by `python -m tests.ansible.options`, compared by a test. -->\n"
_END = "<!-- End of the options. -->\n"

Options = Mapping[str, Mapping[str, Any]]


def specified(entry_point: str = "main") -> Options:
    """The options of the role, by their names."""
    document = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())
    found: Options = document["argument_specs"][entry_point]["options"]
    return found


def defaults() -> dict[str, Any]:
    """The values of options that are not given."""
    found: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    return found


def written(readme: str) -> str:
    """The README with its table as the specification has it."""
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = ["| option | type | default | what |", "|---|---|---|---|", *_rows(specified(), "")]
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
    README.write_text(written(README.read_text()))
