"""Runs a collector and records how it went: one failing collector costs its own frame, and leaves its run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.logs.errors import LogUnreadableError
from agent.outbox import Outbox
from agent.postgres.connection import SessionError
from contracts.batch import Frame, Run, Status
from contracts.metrics import Metric

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution gave. `rows` counts what was read, of which a changed frame carries a part.

    `mark` is how far a log was read with it, and `losses` the outbox's as they were before.
    """

    rows: int
    frame: Frame | None = None
    status: Status | None = None
    detail: str | None = None
    sqlstate: str | None = None
    mark: tuple[str, str] | None = None
    rows_available: int | None = None
    losses: int | None = None


def record(outbox: Outbox, metric: Metric, target: str, datid: int | None, work: Callable[[int], Outcome]) -> None:
    """Do the work, which is given the instant it begins at, and put its frame and its run into the outbox."""
    started_at = time.time_ns() // 1000
    clock = time.perf_counter_ns()
    try:
        outcome = work(started_at)
    except SessionError as error:
        outcome = Outcome(0, status=error.status, detail=error.detail, sqlstate=error.sqlstate)
    except LogUnreadableError as error:
        outcome = Outcome(0, status=Status.PERMISSION, detail=str(error)[:1000])
    except Exception as error:  # whatever it is, the other collectors go on
        log.exception("collector %s of %s failed", metric.name, target)
        outcome = Outcome(0, status=Status.ERROR, detail=f"{type(error).__name__}: {error}"[:1000])
    run = Run(
        collector=metric.name,
        target=target,
        datid=datid,
        started_at=started_at,
        duration_us=(time.perf_counter_ns() - clock) // 1000,
        status=outcome.status or (Status.OK if outcome.rows else Status.EMPTY),
        sqlstate=outcome.sqlstate,
        rows=outcome.rows,
        rows_available=outcome.rows_available,
        detail=outcome.detail,
    )
    outbox.put(run, outcome.frame, outcome.mark, outcome.losses)
