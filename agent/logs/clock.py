"""Reads the times of the log by the server's `log_timezone`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agent.logs.errors import LogSettingError

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{3}))?(?: (\S+))?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class LogClock:
    """Instants of the log, in microseconds since 1970 UTC.

    Raises:
        LogSettingError: `log_timezone` is not in the time zone database.
    """

    def __init__(self, log_timezone: str = "UTC") -> None:
        try:
            self._zone = ZoneInfo(log_timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise LogSettingError(
                f"log_timezone {log_timezone!r} is not in the time zone database of this host: "
                "expected a name such as 'Europe/Berlin'; install the package tzdata if it is missing"
            ) from error

    def instant_us(self, text: str | None) -> int | None:
        """The instant of `2026-01-31 23:59:59.123 CET`; None where it is not one."""
        stamp = _STAMP.fullmatch(text or "")
        if stamp is None:
            return None
        try:
            local = datetime.fromisoformat(stamp[1]) + timedelta(milliseconds=int(stamp[2] or 0))
            at = self._in_zone(local, stamp[3] or "")
            return (at - _EPOCH) // _MICROSECOND
        except (ValueError, OverflowError):
            return None

    def _in_zone(self, local: datetime, abbreviation: str) -> datetime:
        # The hour that a change of clocks repeats is told apart by its abbreviation.
        for fold in (0, 1):
            at = local.replace(tzinfo=self._zone, fold=fold)
            if at.tzname() == abbreviation:
                return at
        return local.replace(tzinfo=_absolute(abbreviation) or self._zone)


def _absolute(abbreviation: str) -> tzinfo | None:
    if abbreviation in ("UTC", "GMT", "Z"):
        return UTC
    if offset := _OFFSET.fullmatch(abbreviation):
        east = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(east if offset[1] == "+" else -east)
    return None
