"""The kinds of collector: a query, texts of statements, a reading of the host or the agent, a log that is followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.collectors.health import Health
from agent.collectors.values import Rows
from agent.postgres.session import EpochOf, Session
from contracts.batch import Status
from contracts.metrics import Metric, Scope


@dataclass(frozen=True, slots=True)
class Withheld:
    """Values that take a right: `column` is false, or null if it is no boolean, in just those rows that lack it."""

    column: str
    grant: str = "pg_monitor"


@dataclass(frozen=True, slots=True)
class Query:
    """Reads a metric by the SQL of its name; once a server, or in each database, as the metric's scope says.

    Attributes:
        metric: what it reads; where that has a cap, the SQL has the parameter `at_most`, and `<metric>_total.sql`
            answers how many rows there would be without it.
        extension: the extension that it reads; its version chooses the SQL.
        of: whose epoch its counters belong to, where it is not that of the metric's scope.
        locked: a column that is null in just those rows that a lock kept from being read.
        withheld: which rows are known by their key alone, for want of a right.
        needs: the predefined role without which the server leaves rows out in silence.
    """

    metric: Metric
    extension: str | None = None
    of: EpochOf | None = None
    locked: str | None = None
    withheld: Withheld | None = None
    needs: str | None = None

    @property
    def epoch(self) -> EpochOf:
        return self.of or ("database" if self.metric.scope is Scope.DATABASE else "cluster")

    def read(self, session: Session, at_most: int | None) -> list[bytes]:
        """The lines of one reading; `at_most` is the cap, for a metric that has one.

        Raises:
            SessionError: with the status that the run deserves.
        """
        if self.needs:
            session.require(self.needs)
        return session.lines(self.metric.name, {"at_most": at_most} if at_most else None, self.extension)

    def rows_available(self, session: Session) -> int:
        """How many rows there would be without the cap. Raises SessionError, as `read` does."""
        ((total,),) = session.rows(f"{self.metric.name}_total", extension=self.extension)
        return int(total)


@dataclass(frozen=True, slots=True)
class Texts:
    """Reads the texts of those statements that another metric has told of, each once and again after a day."""

    metric: Metric
    told_by: Metric
    extension: str


@dataclass(frozen=True, slots=True)
class Follow:
    """Reads what was added to a server's log."""

    metric: Metric


@dataclass(frozen=True, slots=True)
class HostReading:
    """Rows read from the host. Where some could not be read, `status` and `detail` say why."""

    rows: Rows
    status: Status | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Reads a metric from the host; `open` makes the function that does, one for each agent."""

    metric: Metric
    open: Callable[[], Callable[[], HostReading]]


@dataclass(frozen=True, slots=True)
class Own:
    """Reads a metric of the agent itself."""

    metric: Metric
    read: Callable[[Health], Rows]


Collector = Query | Texts | Follow | Read | Own
