"""Lengths of time as a command takes them: a number and s, m, h or d."""

from __future__ import annotations

import re

from cli.ending import fail

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(option: str, text: str, *, at_most_days: int) -> int:
    """The length in seconds. Ends the command if it is none, or too long."""
    found = parse(text)
    if not found or found > at_most_days * 86400:
        fail(f"{option} {text}: a number and s, m, h or d, at most {at_most_days}d")
    return found


def parse(text: str) -> int | None:
    match = re.fullmatch(r"([1-9]\d{0,7})([smhd])", text)
    return int(match[1]) * _UNITS[match[2]] if match else None
