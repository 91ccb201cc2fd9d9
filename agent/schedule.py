"""When each collector runs: one job for each collector and target, changed in place when the configuration changes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from agent.collectors.collector import Collector
from agent.outbox import Outbox
from agent.progress import Progress
from contracts.batch import Run, Status
from contracts.document import Document

#: The first executions are spread over this many seconds, or over the interval if that is shorter.
_SPREAD_SECONDS = 10.0

#: How often the schedule shows that it runs what is due, and after which time without that it is stuck.
_PULSE_SECONDS, _STUCK_SECONDS = 10, 120.0

#: The job and the lane of that.
_PULSE = "pulse"

#: After which time an execution hangs, beside what its statements may take. Each statement has its deadline, so that a
#: server which is slow to answer is not what takes so long: every database of it may wait for so many of them.
_HANGS_SECONDS, _STATEMENTS = 1800.0, 10


class Target(Protocol):
    """Something watched: it knows its collectors, and the thread ("lane") that each runs on."""

    @property
    def name(self) -> str: ...

    def collectors(self) -> tuple[Collector, ...]: ...

    def lane(self, collector: Collector) -> str: ...

    def collect(self, collector: Collector) -> None: ...

    def apply(self, document: Document) -> None: ...

    def close(self) -> None: ...


class Schedule:
    """Runs collectors at their intervals. What could not run in time, or is not to run, leaves a run that says so."""

    def __init__(
        self,
        targets: Iterable[Target],
        outbox: Outbox,
        refusal: Callable[[str, str], str | None] = lambda _metric, _target: None,
        progress: Progress | None = None,
    ) -> None:
        """`refusal` answers why a metric is not to be read from a target now; None where it is."""
        self._outbox = outbox
        self._refusal = refusal
        self._jobs: dict[str, tuple[Target, Collector]] = {
            f"{target.name}/{collector.metric.name}": (target, collector)
            for target in targets
            for collector in target.collectors()
        }
        self._intervals: dict[str, int] = {}
        lanes = {target.lane(collector) for target, collector in self._jobs.values()}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # One thread a lane: a target that does not answer holds up nobody but itself.
            executors={lane: ThreadPoolExecutor(1) for lane in {*lanes, _PULSE}},
            job_defaults={"coalesce": True, "max_instances": 1},
        )
        self._progress = progress or Progress()
        self._patience = _patience(Document())
        self._scheduler.add_listener(self._report, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)

    def apply(self, document: Document) -> None:
        """Run what the document says, as often as it says; jobs it does not change are not touched."""
        self._patience = _patience(document)
        for job_id, (target, collector) in self._jobs.items():
            every = document.interval(collector.metric.name)
            if every == self._intervals.get(job_id):
                continue
            if job_id in self._intervals:
                self._scheduler.remove_job(job_id)
                del self._intervals[job_id]
            if every is not None:
                self._intervals[job_id] = every
                self._scheduler.add_job(
                    self._execute,
                    "interval",
                    args=[target, collector],
                    seconds=every,
                    id=job_id,
                    executor=target.lane(collector),
                    next_run_time=_soon(every),
                    # Half an interval late is still this interval's reading; beyond that the next one is due.
                    misfire_grace_time=max(5, every // 2),
                )

    def start(self) -> None:
        self._pulse()
        self._scheduler.add_job(
            self._pulse, "interval", seconds=_PULSE_SECONDS, id=_PULSE, executor=_PULSE, misfire_grace_time=None
        )
        self._scheduler.start()

    def stop(self) -> None:
        """Start nothing more, and wait for what runs."""
        self._scheduler.shutdown(wait=True)

    def _pulse(self) -> None:
        self._progress.within("schedule", _STUCK_SECONDS)

    def _execute(self, target: Target, collector: Collector) -> None:
        why = self._refusal(collector.metric.name, target.name)
        if why is not None:
            self._leave(target, collector, Status.SKIPPED, why)
            return
        part = f"lane {target.lane(collector)}"
        self._progress.within(part, self._patience)
        try:
            target.collect(collector)
        finally:
            self._progress.rests(part)

    def _report(self, event: JobExecutionEvent | JobSubmissionEvent) -> None:
        if event.job_id == _PULSE:
            return
        target, collector = self._jobs[event.job_id]
        if event.code == EVENT_JOB_ERROR:
            status, detail = Status.ERROR, f"{type(event.exception).__name__}: {event.exception}"[:1000]
        elif event.code == EVENT_JOB_MISSED:
            status, detail = Status.MISSED, "the agent could not start it in time"
        else:
            status, detail = Status.MISSED, "the execution before has not ended yet"
        self._leave(target, collector, status, detail)

    def _leave(self, target: Target, collector: Collector, status: Status, detail: str) -> None:
        now = time.time_ns() // 1000
        self._outbox.put(
            Run(
                collector=collector.metric.name,
                target=target.name,
                started_at=now,
                duration_us=0,
                status=status,
                detail=detail,
            )
        )


def _patience(document: Document) -> float:
    return _HANGS_SECONDS + _STATEMENTS * document.databases.at_most * document.statement_timeout_ms / 1000


def _soon(every: int) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=random.uniform(0, min(every, _SPREAD_SECONDS)))  # noqa: S311
