"""The queue between the bucket and the loader: a file of SQLite that survives `kill -9` and a power cut.

It stands for SQS, with two promises more: a body that waits already is not queued twice, and one process at a time
has it open, so that whatever was in the hands of a process that died is there again at the next start.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

#: A message is a dead letter after this many receives that count.
MAX_RECEIVES = 20

logger = logging.getLogger(__name__)

_SCHEMA = """
create table if not exists message (
    id integer primary key autoincrement,
    body text not null unique,
    sent_at real not null,
    visible_at real not null,
    receives integer not null default 0
);
create index if not exists message_visible_at on message (visible_at, id);
create table if not exists dead (body text primary key, sent_at real not null, died_at real not null);
"""


class QueueError(Exception):
    """The queue cannot be opened; the message names what to mend."""


@dataclass(frozen=True)
class Message:
    """`receives` counts this one; `sent_at` is aware."""

    id: int
    body: str
    receives: int
    sent_at: datetime


class Queue:
    """Safe to use from several threads."""

    def __init__(self, folder: Path, *, max_receives: int = MAX_RECEIVES) -> None:
        """Open the queue in this folder, making it if need be.

        Raises:
            QueueError: the folder cannot be written, or another process has the queue.
        """
        self._max_receives = max_receives
        self._changed = threading.Condition()
        try:
            self._lock_file = os.open(folder / "queue.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise QueueError(f"{folder}: {error.strerror}; the server must be able to write there") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._connection = sqlite3.connect(folder / "queue.sqlite3", isolation_level=None, check_same_thread=False)
        except BlockingIOError as error:
            os.close(self._lock_file)
            raise QueueError(f"{folder}: another server uses this folder; stop it, or give this one another") from error
        except sqlite3.Error as error:
            os.close(self._lock_file)
            raise QueueError(f"{folder / 'queue.sqlite3'}: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise QueueError(
                f"{folder / 'queue.sqlite3'}: {error}; if it is damaged, remove it: at its start the server queues "
                "again what is in the bucket and not in the store"
            ) from error

    def _prepare(self) -> None:
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")  # a sent message outlives a power cut
        self._connection.executescript(_SCHEMA)
        # Nobody else has the queue: what is in hand was in the hands of a process that died.
        self._connection.execute("update message set visible_at = ?1 where visible_at > ?1", (time.time(),))

    def close(self) -> None:
        with self._changed:
            self._connection.close()
            os.close(self._lock_file)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._changed:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def send(self, *bodies: str) -> None:
        """Queue these durably. A body that is queued already stays where it is; a dead letter lives again."""
        now = time.time()
        with self._transaction() as connection:
            connection.executemany("delete from dead where body = ?", ((body,) for body in bodies))
            connection.executemany(
                "insert into message (body, sent_at, visible_at) values (?1, ?2, ?2) on conflict do nothing",
                ((body, now) for body in bodies),
            )
            self._changed.notify_all()

    def receive(self, at_most: int = 10, visibility_seconds: float = 900) -> list[Message]:
        """The messages that are due, longest waiting first; nobody else receives them for that long."""
        now = time.time()
        with self._transaction() as connection:
            self._bury(connection, now)
            rows = connection.execute(
                """
                update message set visible_at = ?, receives = receives + 1
                where id in (select id from message where visible_at <= ? order by visible_at, id limit ?)
                returning id, body, receives, sent_at
                """,
                (now + visibility_seconds, now, at_most),
            ).fetchall()
        return [
            Message(id_, body, receives, datetime.fromtimestamp(at, UTC)) for id_, body, receives, at in sorted(rows)
        ]

    def _bury(self, connection: sqlite3.Connection, now: float) -> None:
        # Here, as SQS does, and not when a failure is told: a message that kills its process must end, too.
        connection.execute(
            """
            insert or replace into dead
            select body, sent_at, ?1 from message where visible_at <= ?1 and receives >= ?2
            """,
            (now, self._max_receives),
        )
        buried = connection.execute(
            "delete from message where visible_at <= ? and receives >= ? returning body", (now, self._max_receives)
        ).fetchall()
        for (body,) in buried:
            logger.error("dead letter", extra={"body": body, "receives": self._max_receives})

    def delete(self, ids: Sequence[int]) -> None:
        """These are done with."""
        with self._transaction() as connection:
            connection.executemany("delete from message where id = ?", ((id_,) for id_ in ids))

    def release(self, ids: Sequence[int], delay_seconds: float, *, counted: bool = True) -> None:
        """Give these again after the delay; a receive that is not `counted` brings no message nearer to its death."""
        with self._transaction() as connection:
            connection.executemany(
                "update message set visible_at = ?, receives = receives - ? where id = ?",
                ((time.time() + delay_seconds, 0 if counted else 1, id_) for id_ in ids),
            )
            self._changed.notify_all()

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Wait until a message is due, or until `stopped` holds when `wake` is called."""
        with self._changed:
            while not stopped():
                (due_at,) = self._connection.execute("select min(visible_at) from message").fetchone()
                seconds = None if due_at is None else due_at - time.time()
                if seconds is not None and seconds <= 0:
                    return
                self._changed.wait(seconds)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def depth(self) -> int:
        """How many messages wait or are in hand."""
        return self._number("select count(*) from message")

    def dead(self) -> int:
        """How many dead letters there are."""
        return self._number("select count(*) from dead")

    def _number(self, query: str) -> int:
        with self._changed:
            number: int = self._connection.execute(query).fetchone()[0]
            return number

    def oldest_age_seconds(self) -> float:
        """How long the oldest message has been queued; 0 when there is none."""
        with self._changed:
            (sent_at,) = self._connection.execute("select min(sent_at) from message").fetchone()
        return 0.0 if sent_at is None else max(0.0, time.time() - sent_at)
