"""What one scope says of the configuration: part of a document, checked strictly, and how scopes merge."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, StringConstraints, ValidationError

from contracts.document import Document, MetricSettings
from contracts.metrics import CATALOGUE
from contracts.presets import PRESETS

FLEET = "fleet"
GROUP, AGENT = "group:", "agent:"

#: `fleet`, `group:NAME` or `agent:ID`.
Scope = Annotated[
    str, StringConstraints(pattern=r"^(fleet|(group|agent):[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?)$", max_length=80)
]

#: Part of a document as JSON has it.
Overlay = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one key of an operator's document: the key's path, and what is allowed there."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class OverlayError(ValueError):
    """A document that operators may not save; `faults` has everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


def check(overlay: Overlay) -> None:
    """Refuse what an agent would ignore, and what it would refuse.

    Raises:
        OverlayError: naming every key at fault, its value, what is allowed, and the nearest key where it is unknown.
    """
    faults = list(_unknown(Document, overlay, ""))
    preset = overlay.get("preset")
    if isinstance(preset, str) and preset not in PRESETS:
        faults.append(Fault("preset", f"{preset!r} is not one of {', '.join(PRESETS)}{_nearest(preset, PRESETS)}"))
    if not faults:
        try:
            Document.model_validate(overlay)
        except ValidationError as error:
            faults += [
                Fault(_path(each["loc"]), f"{each['msg'].removeprefix('Value error, ')}, not {_shown(each['input'])}")
                for each in error.errors(include_url=False, include_context=False)
            ]
    if faults:
        raise OverlayError(faults)


def _unknown(model: type[BaseModel], found: object, place: str) -> list[Fault]:
    if not isinstance(found, Mapping):
        return [Fault(place, f"a table is expected, not {_shown(found)}")]
    faults: list[Fault] = []
    for name, value in found.items():
        path = f"{place}.{name}" if place else str(name)
        if name not in model.model_fields:
            faults.append(Fault(path, f"there is no such key{_nearest(str(name), model.model_fields)}"))
            continue
        if model is Document and name == "metrics":
            if not isinstance(value, Mapping):
                faults.append(Fault(path, f"a table is expected, not {_shown(value)}"))
                continue
            for metric, settings in value.items():
                if metric not in CATALOGUE:
                    faults.append(Fault(f"{path}.{metric}", f"there is no such metric{_nearest(metric, CATALOGUE)}"))
                else:
                    faults += _unknown(MetricSettings, settings, f"{path}.{metric}")
            continue
        annotation = model.model_fields[name].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            faults += _unknown(annotation, value, path)
    return faults


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _path(parts: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in parts)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


@dataclass(frozen=True, slots=True)
class Merged:
    """A complete document, and the scope that each of its keys has its value from; keys in none are the defaults."""

    document: Document
    origins: Mapping[str, str]


def merge(overlays: Sequence[tuple[str, Overlay]]) -> Merged:
    """What scopes say together, each with its name: a later one wins, key by key; a list is replaced as a whole."""
    together: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for scope, overlay in overlays:
        _lay(together, overlay, scope, origins, "")
    return Merged(Document.model_validate(together), origins)


def _lay(under: dict[str, Any], over: Overlay, scope: str, origins: dict[str, str], place: str) -> None:
    for name, value in over.items():
        path = f"{place}.{name}" if place else name
        if isinstance(value, Mapping):
            inner = under.setdefault(name, {})
            _lay(inner, value, scope, origins, path)
        else:
            under[name] = value
            origins[path] = scope


def leaves(overlay: Overlay, place: str = "") -> dict[str, Any]:
    """What an overlay says, by the paths of its keys, such as `metrics.activity.every_seconds`; a list is one value."""
    found: dict[str, Any] = {}
    for name, value in overlay.items():
        path = f"{place}.{name}" if place else name
        found |= leaves(value, path) if isinstance(value, Mapping) else {path: value}
    return found


def canonical(overlay: Overlay) -> str:
    """The one way in which an overlay is written as JSON: its sha-256 is that of this text in UTF-8."""
    return json.dumps(overlay, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
