"""Texts of statements: each sent once it is told of, again after a day, and all again after data was lost.

The server reads all texts to give out one. So it is asked only when one is missing, and those that were sent together
are due together; that a day's data has the texts of its statements keeps them beside it in the store.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from agent.changes import Changes
from agent.collectors.collector import Texts
from agent.lines import cells
from agent.logs.literals import CUT, redact_sql
from agent.postgres.session import Session
from agent.targets.recording import Outcome
from contracts.batch import Frame, Status

#: Of one text, and texts of one reading: at most 4 MB, should all be long and plain.
_CHARACTERS, _AT_ONCE = 8_192, 500

#: Seconds until a text is due again; sooner where the server had none, for it may have one later.
_SENT_AGAIN, _ASKED_AGAIN = 86_400.0, 3_600.0

#: Of how many statements more than are told of it is known that they were sent; the one sent longest ago is forgotten.
_REMEMBERED = 20_000


class StatementTexts:
    """Knows what was sent of one server, by the statements' numbers alone."""

    def __init__(self, target: str, changes: Changes) -> None:
        self._target = target
        self._changes = changes
        self._forgotten = changes.forgotten
        self._due_at: dict[int, float] = {}

    def read(self, collector: Texts, session: Session, at: int) -> Outcome:
        """One reading, of what is due.

        Raises:
            SessionError: with the status that the run deserves.
        """
        name = collector.metric.name
        lines = self._changes.last(collector.told_by, self._target)
        told = dict.fromkeys(map(int, cells(collector.told_by, "queryid", lines)))  # the busiest first
        if not told:
            return Outcome(0, status=Status.SKIPPED, detail=f"{collector.told_by.name} has told of no statement")
        due = self.due(told, time.monotonic())
        if not due:
            return Outcome(0)
        asked = due[:_AT_ONCE]
        session.use()
        session.require("pg_read_all_stats")
        parameters = {"queryids": asked, "characters": _CHARACTERS + 1}
        texts = {int(queryid): redacted(text) for queryid, text in session.rows(name, parameters, collector.extension)}
        columns = {"queryid": list(texts), "query": list(texts.values())}
        frame = Frame(metric=name, target=self._target, collected_at=at, columns=columns) if texts else None
        self.sent(asked, texts, time.monotonic())
        self.forget_all_but(len(told) + _REMEMBERED)
        if len(asked) < len(due):
            return Outcome(len(texts), frame, Status.TRUNCATED, "the others come next time", rows_available=len(due))
        return Outcome(len(texts), frame)

    def due(self, told: Iterable[int], now: float) -> list[int]:
        """Which of these are to be asked for."""
        if self._forgotten != self._changes.forgotten:
            self._forgotten = self._changes.forgotten
            self._due_at.clear()
        return [queryid for queryid in told if self._due_at.get(queryid, now) <= now]

    def sent(self, asked: Iterable[int], answered: Iterable[int], now: float) -> None:
        """These were asked for, and of these there was a text."""
        again = dict.fromkeys(asked, now + _ASKED_AGAIN) | dict.fromkeys(answered, now + _SENT_AGAIN)
        for queryid, at in again.items():
            self._due_at.pop(queryid, None)
            self._due_at[queryid] = at

    def forget_all_but(self, most: int) -> None:
        """Keep no more than this in mind, those sent last."""
        for queryid in list(self._due_at)[: max(len(self._due_at) - most, 0)]:
            del self._due_at[queryid]


def redacted(text: str) -> str:
    """A text as it may leave the host."""
    if len(text) <= _CHARACTERS:
        return redact_sql(text)
    return redact_sql(text[: _CHARACTERS - 1]) + CUT
