"""Instants as a command takes and prints them: ISO 8601, aware, UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.ending import fail

_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


def instant(option: str, text: str) -> datetime:
    """The instant in this text, in UTC; a date alone is its midnight. Ends the command if it is none."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) <= len("2026-01-31"):
            found = found.replace(tzinfo=UTC)
        if found.tzinfo is None or found < _EARLIEST:
            raise ValueError("no zone, or before anything was read")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        fail(f"{option} {text}: an instant with its zone, such as 2026-01-31T09:30:00Z, or a date, such as 2026-01-31")


def utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
