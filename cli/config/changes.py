"""What differs between two documents, key by key, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.config.files import GROUP_KEY
from contracts.configuration import Change, Group
from contracts.overlay import leaves

#: What a key has that is not there. It is not null, which is a value: no bound, say.
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Changed:
    """One key that differs; ABSENT on the side where it is not there."""

    key: str
    before: object
    after: object

    def as_json(self) -> dict[str, object]:
        """The key, and `before` and `after` where it is there."""
        sides = {"before": self.before, "after": self.after}
        return {"key": self.key} | {name: value for name, value in sides.items() if value is not ABSENT}


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Changed]:
    """What differs between what two sides say, each by the paths of its keys."""
    found = [Changed(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in sorted({*before, *after})]
    return [each for each in found if not _same(each.before, each.after)]


def said(document: Mapping[str, Any], group: Group | None) -> dict[str, Any]:
    """A document and whom it is for, by the paths of the keys."""
    return leaves(document) | (leaves({GROUP_KEY: group.model_dump()}) if group else {})


def print_changes(changes: Sequence[Changed], console: Console) -> None:
    """A line each: what is new, what is gone, what is another value."""
    if not changes:
        console.print("  nothing")
    for each in changes:
        if each.before is ABSENT:
            line = Text(f"  + {each.key}: {_value(each.after)}", style="green")
        elif each.after is ABSENT:
            line = Text(f"  - {each.key}: {_value(each.before)}", style="red")
        else:
            line = Text(f"  ~ {each.key}: {_value(each.before)} -> {_value(each.after)}", style="yellow")
        console.print(line, soft_wrap=True)


def print_differences(changes: Iterable[Change], console: Console) -> None:
    """The same of what the server compared: there, what is null is not there, unless both sides are."""
    print_changes(
        [
            Changed(
                each.key,
                ABSENT if each.before is None and each.after is not None else each.before,
                ABSENT if each.after is None and each.before is not None else each.after,
            )
            for each in changes
        ],
        console,
    )


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _same(before: object, after: object) -> bool:
    # True is no 1, though Python has them equal.
    return before is after or (type(before) is type(after) and before == after)
