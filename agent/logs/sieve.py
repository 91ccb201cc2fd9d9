"""Which of a log's entries are sent: those that are severe enough, and so many in a minute."""

from __future__ import annotations

from typing import NamedTuple

from agent.collectors.values import Rows
from contracts.document import SEVERITIES, LogSettings
from contracts.metrics import LOG_EVENT

_MINUTE = 60.0
_SEVERITY = LOG_EVENT.names.index("severity")


class Sifted(NamedTuple):
    """The rows that are sent, and how many more would have been but for the bound."""

    rows: Rows
    beyond: int


class Sieve:
    """Counts what it lets through in each minute; another bound begins a minute of its own."""

    def __init__(self) -> None:
        self._most: int | None = None
        self._left = 0
        self._since = 0.0

    def sift(self, rows: Rows, settings: LogSettings, now: float) -> Sifted:
        """What these settings let through, the first ones first; `now` is in seconds of a clock that never goes back.

        A row whose severity is not known counts as severe enough.
        """
        least = SEVERITIES.index(settings.least_severity)
        severe = [row for row in rows if _rank(row[_SEVERITY]) >= least] if least else rows
        most = settings.at_most_per_minute
        if most is None:
            self._most = None
            return Sifted(severe, 0)
        if most != self._most or now - self._since >= _MINUTE:
            self._most, self._left, self._since = most, most, now
        taken = severe[: self._left]
        self._left -= len(taken)
        return Sifted(taken, len(severe) - len(taken))


def _rank(severity: object) -> int:
    # DEBUG1 to DEBUG5 are one; what has no name of PostgreSQL's is never left out.
    name = str(severity).lower().rstrip("12345")
    return SEVERITIES.index(name) if name in SEVERITIES else len(SEVERITIES)
