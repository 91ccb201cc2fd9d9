"""A PostgreSQL server, watched over two connections at most however many databases it has."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from agent.changes import Changes
from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Collector, Follow, Query, Texts
from agent.lines import nulls, withheld
from agent.logs.clock import LogClock
from agent.logs.follow import LogFollower, matching
from agent.logs.mark import Mark
from agent.logs.parser import Dialect
from agent.logs.sieve import Sieve
from agent.outbox import Outbox
from agent.postgres.connection import SessionError
from agent.postgres.cost import Cost
from agent.postgres.session import Database, Session
from agent.settings import TargetSettings
from agent.targets.host import columns
from agent.targets.recording import Outcome, record
from agent.targets.texts import StatementTexts
from contracts.batch import Frame, Status
from contracts.document import DatabaseSettings, Document, LogSettings
from contracts.metrics import Metric, Scope

log = logging.getLogger(__name__)

#: What one reading of a log takes at most; what is left comes with the next.
_LOG_ROWS, _LOG_BYTES = 5_000, 4_000_000


class ServerTarget:
    """One server. Its lanes are threads with one connection each: for the server as a whole, and for its databases."""

    def __init__(
        self,
        settings: TargetSettings,
        changes: Changes,
        outbox: Outbox,
        marks: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`marks` answers how far the logs were read, as it stands in the spool."""
        self.name = settings.name
        self._log = settings.log
        self._changes = changes
        self._outbox = outbox
        self._cluster = Session(settings.dsn)
        self._roving = Session(settings.dsn)
        self._document = Document()
        self._texts = StatementTexts(self.name, changes)
        self._marks = marks
        self._mark = self._began = self._stored()
        self._losses = outbox.losses
        self._follower: LogFollower | None = None
        self._dialect: Dialect | None = None
        self._sieve = Sieve()

    def collectors(self) -> tuple[Collector, ...]:
        kinds = (Query, Texts, Follow) if self._log else (Query, Texts)
        return tuple(collector for collector in COLLECTORS if isinstance(collector, kinds))

    def lane(self, collector: Collector) -> str:
        """The thread that the collector runs on, and so the connection that it uses."""
        return f"{self.name}:{'database' if collector.metric.scope is Scope.DATABASE else 'cluster'}"

    def cost(self) -> Cost:
        """What the server was asked so far."""
        return self._cluster.cost + self._roving.cost

    def apply(self, document: Document) -> None:
        """Obey another document from the next reading on."""
        self._document = document
        for session in (self._cluster, self._roving):
            session.statement_timeout_ms = document.statement_timeout_ms

    def close(self) -> None:
        """Give up the connections and the log's files."""
        self._cluster.close()
        self._roving.close()
        if self._follower is not None:
            self._follower.close()

    def collect(self, collector: Collector) -> None:
        """Execute one collector; in every database, if that is its scope."""
        # One document for the whole of it, whichever comes meanwhile.
        metric, document = collector.metric, self._document
        if isinstance(collector, Follow):
            record(self._outbox, metric, self.name, None, partial(self._follow, metric, document.logs))
        elif isinstance(collector, Texts):
            record(self._outbox, metric, self.name, None, partial(self._texts.read, collector, self._cluster))
        elif isinstance(collector, Query):
            if metric.scope is Scope.DATABASE:
                self._in_each_database(collector, document)
            else:
                cap = document.at_most(metric.name)
                record(self._outbox, metric, self.name, None, partial(self._query, collector, self._cluster, None, cap))

    def _in_each_database(self, collector: Query, document: Document) -> None:
        metric = collector.metric
        try:
            self._roving.use()
            taken = chosen(self._roving.databases(), document.databases)
        except SessionError as error:
            failure = error
            record(self._outbox, metric, self.name, None, lambda _: _raise(failure))
            return
        databases = taken[: document.databases.at_most]
        if not databases or len(databases) < len(taken):
            # Only what is not as usual leaves a run of the server's own: each database leaves one.
            record(self._outbox, metric, self.name, None, lambda _: _left_out(len(databases), len(taken)))
        cap = document.at_most(metric.name)
        # The one that the session is in comes first: one connection fewer to make.
        for database in sorted(databases, key=lambda each: each.name != self._roving.database):
            work = partial(self._query, collector, self._roving, database, cap)
            record(self._outbox, metric, self.name, database.oid, work)

    def _query(
        self, collector: Query, session: Session, database: Database | None, cap: int | None, at: int
    ) -> Outcome:
        metric = collector.metric
        session.use(database.name if database else None)
        read = partial(collector.read, session, cap)
        lines, epoch = session.within_one_epoch(collector.epoch, read) if metric.counters else (read(), None)
        datid = database.oid if database else None
        difference = self._changes.difference(metric, self.name, datid, lines, epoch, time.monotonic())
        frame = Frame.model_construct(
            metric=metric.name,
            target=self.name,
            datid=datid,
            collected_at=at,
            epoch=epoch,
            mode=difference.mode,
            columns=difference.columns,
            gone=difference.gone,
        )
        if cap and len(lines) >= cap and (total := collector.rows_available(session)) > len(lines):
            detail = f"metrics.{metric.name}.at_most is {cap}"
            return Outcome(len(lines), frame, Status.TRUNCATED, detail, rows_available=total)
        if collector.locked and (locked := nulls(metric, collector.locked, lines)):
            detail = f"{locked} of {len(lines)} are locked, and left out until the next reading"
            return Outcome(len(lines) - locked, frame, Status.LOCKED, detail, rows_available=len(lines))
        right = collector.withheld
        if right and (without := withheld(metric, right.column, lines)):
            detail = f"{without} of {len(lines)} are withheld; grant {right.grant} to the agent's role"
            return Outcome(len(lines) - without, frame, Status.PERMISSION, detail, rows_available=len(lines))
        return Outcome(difference.rows, frame)

    def _follow(self, metric: Metric, settings: LogSettings, at: int) -> Outcome:
        losses = self._outbox.losses
        follower = self._log_follower()
        if losses != self._losses:
            self._losses = losses
            if (mark := self._stored() or self._began) is not None:
                follower.rewind(mark)
        reading = follower.read(_LOG_ROWS, _LOG_BYTES)
        if self._began is None:
            self._began = reading.mark  # without a mark the first reading has no rows, and is where this one began
        rows, beyond = self._sieve.sift(reading.rows, settings, time.monotonic())
        frame = None
        if rows:
            frame = Frame(metric=metric.name, target=self.name, collected_at=at, columns=columns(metric, rows))
        self._mark = reading.mark
        cut = [f"logs.at_most_per_minute is {settings.at_most_per_minute}"] if beyond else []
        cut += ["more of the log is read next time"] if reading.more else []
        return Outcome(
            len(rows),
            frame,
            Status.TRUNCATED if cut else None,
            "; ".join(cut) or None,
            mark=(self.name, reading.mark.model_dump_json()),
            rows_available=len(rows) + beyond if beyond else None,
            losses=losses,
        )

    def _stored(self) -> Mark | None:
        mark = self._marks().get(self.name)
        return _mark(mark) if mark else None

    def _log_follower(self) -> LogFollower:
        # The form of the log's lines is the server's to say. While it is down its log matters most: then the
        # default form has to do, and the server is asked again each time.
        dialect = self._dialect or self._asked_dialect()
        if self._follower is None or (dialect is not None and dialect is not self._dialect):
            if self._follower is not None:
                self._follower.close()
            self._follower = LogFollower(self._log_files, dialect=dialect, mark=self._mark)
            self._dialect = dialect
        return self._follower

    def _asked_dialect(self) -> Dialect | None:
        try:
            self._cluster.use()
            ((prefix, zone, messages),) = self._cluster.rows("log_setting")
        except SessionError:
            return None
        return Dialect(prefix, messages, LogClock(zone))

    def _log_files(self) -> list[Path]:
        patterns = self._log.files if self._log else ()
        return [path for pattern in map(Path, patterns) for path in matching(pattern.parent, pattern.name)]


def _mark(text: str) -> Mark | None:
    try:
        return Mark.model_validate_json(text)
    except ValidationError:
        log.warning("a log's mark is not of this version's making: the log is read from its end")
        return None


def chosen(databases: list[Database], settings: DatabaseSettings) -> list[Database]:
    """Those that the patterns take, in the order of their names."""
    return [
        database
        for database in databases
        if any(fnmatchcase(database.name, pattern) for pattern in settings.include)
        and not any(fnmatchcase(database.name, pattern) for pattern in settings.exclude)
    ]


def _left_out(visited: int, taken: int) -> Outcome:
    if not taken:
        return Outcome(0, status=Status.EMPTY, detail="databases.include and exclude leave no database to look into")
    detail = f"databases.at_most leaves {taken - visited} of {taken} databases out"
    return Outcome(visited, status=Status.TRUNCATED, detail=detail, rows_available=taken)


def _raise(error: SessionError) -> Outcome:
    raise error
