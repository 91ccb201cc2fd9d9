"""Where collectors put what they read, until a batch is made of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.batch import Frame, Gap, Run, Status
from contracts.metrics import LOG_EVENT

#: A batch is closed early when its frames have this many rows: a quarter of what a server accepts.
ENOUGH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Contents:
    """What was collected since the last batch. `marks` say how far each log was read with these frames."""

    frames: tuple[Frame, ...] = ()
    runs: tuple[Run, ...] = ()
    gaps: tuple[Gap, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.frames or self.runs or self.gaps)

    def without_logs(self) -> Contents:
        """The same, but for what was read of logs, and how far."""
        return Contents(tuple(frame for frame in self.frames if not _of_a_log(frame)), self.runs, self.gaps)

    @property
    def logs(self) -> tuple[Frame, ...]:
        """The frames that were read of logs."""
        return tuple(frame for frame in self.frames if _of_a_log(frame))


class Outbox:
    """Filled by many threads, emptied by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: list[Frame] = []
        self._runs: list[Run] = []
        self._gaps: list[Gap] = []
        self._marks: dict[str, str] = {}
        self._rows = 0
        self._losses = 0
        self._ended: Counter[tuple[str, Status]] = Counter()
        #: Set when a batch is due before its interval is over: there is enough for one, or the interval has changed.
        self.due = threading.Event()

    @property
    def losses(self) -> int:
        """How often what was read of logs was lost so far: whoever reads one begins anew from its stored mark then."""
        with self._lock:
            return self._losses

    def lose_logs(self) -> None:
        """What was read of logs is lost: what came after it goes, too, as it will be read again."""
        with self._lock:
            self._losses += 1
            self._frames = [frame for frame in self._frames if not _of_a_log(frame)]
            self._rows = sum(frame.rows + frame.gone_rows for frame in self._frames)
            self._marks = {}

    def put(
        self,
        run: Run,
        frame: Frame | None = None,
        mark: tuple[str, str] | None = None,
        losses: int | None = None,
    ) -> None:
        """A run, with the frame and the log position that came of it; `losses` as they were before the log was read."""
        with self._lock:
            self._runs.append(run)
            self._ended[run.target, run.status] += 1
            if losses is not None and losses != self._losses:
                return  # it begins behind what was lost meanwhile
            if frame is not None:
                self._frames.append(frame)
                self._rows += frame.rows + frame.gone_rows
            if mark is not None:
                self._marks[mark[0]] = mark[1]
            if self._rows >= ENOUGH_ROWS:
                self.due.set()

    def put_gap(self, gap: Gap) -> None:
        with self._lock:
            self._gaps.append(gap)

    def ended(self, target: str, status: Status) -> int:
        """How many runs of the target ended so, those of earlier batches included."""
        with self._lock:
            return self._ended[target, status]

    def take(self) -> Contents:
        """Everything in it, leaving it empty."""
        with self._lock:
            contents = Contents(tuple(self._frames), tuple(self._runs), tuple(self._gaps), dict(self._marks))
            self._frames, self._runs, self._gaps, self._marks, self._rows = [], [], [], {}, 0
            self.due.clear()
            return contents


def _of_a_log(frame: Frame) -> bool:
    return frame.metric == LOG_EVENT.name
