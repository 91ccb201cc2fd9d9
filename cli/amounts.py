"""Amounts as options have them: shares such as 1%, multiples such as 2x, labels such as role=web."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from cli.ending import fail
from contracts.identity import Labels

if TYPE_CHECKING:
    from contracts.configuration import Gates


def labels(option: str, words: Sequence[str]) -> dict[str, str]:
    """The labels in words such as `role=web`. Ends the command if one is none, or stands twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name in found:
            fail(f"{option} {word}: NAME=VALUE is expected, each name once")
        found[name] = value
    try:
        return TypeAdapter[dict[str, str]](Labels).validate_python(found)
    except ValidationError:
        fail(
            f"{option} {' '.join(words)}: names are lower case letters, digits and . _ - /, values letters, digits and "
            ". _ -, of 63 characters at most; their ends are letters or digits"
        )


def gates(option: str, words: Iterable[str]) -> Gates:
    """The gates in words such as `errors=1%,agent_cpu=2x`; `off` leaves one out. Ends the command if one is none."""
    from contracts.configuration import Gates  # which whoever only asks for agents has no use for

    found: dict[str, float | None] = {}
    for word in (part.strip() for each in words for part in each.split(",")):
        name, _, value = word.partition("=")
        if name not in _GATES:
            fail(f"{option} {word}: there is {', '.join(_GATES)}")
        try:
            found[name] = _GATES[name](value)
        except ValueError:
            fail(f"{option} {word}: {_EXPECTED[_GATES[name]]} is expected")
    try:
        return Gates.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        fail(f"{option} {first['loc'][0]}: {first['msg']}, not {first['input']}")


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def _multiple(text: str) -> float | None:
    return None if text == "off" else float(text.removesuffix("x"))


_GATES: Mapping[str, Callable[[str], float | None]] = {
    "errors": _share,
    "missing": _share,
    "agent_cpu": _multiple,
    "db_time": _multiple,
}
_EXPECTED: Mapping[Callable[[str], float | None], str] = {
    _share: "a share such as 1%",
    _multiple: "a multiple such as 2x, or off,",
}
