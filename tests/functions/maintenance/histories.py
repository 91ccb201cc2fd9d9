"""Random lives of tables, as an agent would send them, and what each hour of them comes to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from agent.changes import Changes
from contracts.batch import Batch, Frame
from contracts.metrics import TABLE_STATS

HOUR_US = 3_600_000_000
STEP_US = 300_000_000
DATID = 5

#: Rows inserted, and rows that live.
Table = tuple[int, int]


@dataclass
class Hour:
    """What one hour of one table comes to; `inserted` is None where no difference is known."""

    inserted: int | None = None
    falls: int = 0
    live: list[int] = field(default_factory=list)


@dataclass
class History:
    """Readings of one database's tables, five minutes apart, each with its epoch."""

    start: int
    readings: list[tuple[int, dict[int, Table]]]

    @classmethod
    def random(cls, seed: int, start: int, hours: int) -> History:
        """Tables that grow, rest, fall, are dropped, come again, and are reset."""
        chance, epoch, tables = random.Random(seed), 1, dict.fromkeys(range(20000, 20006), (10**9, 5))
        readings = []
        for _ in range(hours * HOUR_US // STEP_US):
            if chance.random() < 0.05:
                epoch, tables = epoch + 1, dict.fromkeys(tables, (0, 5))
            for relid, (inserted, live) in list(tables.items()):
                if chance.random() < 0.3:
                    tables[relid] = (inserted + chance.randrange(1, 1000), live + chance.randrange(3))
                if chance.random() < 0.02:
                    tables[relid] = (max(0, tables[relid][0] - chance.randrange(1, 5000)), live)
                if chance.random() < 0.03:
                    del tables[relid]
            if chance.random() < 0.1:
                tables[chance.randrange(20000, 20010)] = (chance.randrange(10**9), 0)
            readings.append((epoch, dict(tables)))
        return cls(start, readings)

    def at(self, index: int) -> int:
        return self.start + index * STEP_US

    def batches(self, agent: str, *, full: bool = False) -> list[Batch]:
        """The batches of an agent, each of six readings."""
        frames, stream = list(self._frames(full=full)), uuid4()
        return [
            Batch(
                agent_id=agent,
                stream_id=stream,
                seq=first,
                sent_at=frames[min(first + 5, len(frames) - 1)].collected_at + 1,
                agent_version="1",
                frames=tuple(frames[first : first + 6]),
            )
            for first in range(0, len(frames), 6)
        ]

    def _frames(self, *, full: bool) -> Iterator[Frame]:
        changes = Changes(full_every_seconds=3600)
        for index, (epoch, tables) in enumerate(self.readings):
            if full:
                changes.forget()
            lines = [_line(relid, *table) for relid, table in tables.items()]
            difference = changes.difference(TABLE_STATS, "main", DATID, lines, epoch, index * STEP_US / 1e6)
            yield Frame(
                metric=TABLE_STATS.name,
                target="main",
                datid=DATID,
                collected_at=self.at(index),
                epoch=epoch,
                mode=difference.mode,
                columns=difference.columns,
                gone=difference.gone,
            )

    def hours(self) -> dict[tuple[datetime, int], Hour]:
        """What every hour of every table comes to: a reading's difference belongs to the hour of the reading."""
        found: dict[tuple[datetime, int], Hour] = {}
        before_epoch, before = 0, dict[int, Table]()
        for index, (epoch, tables) in enumerate(self.readings):
            instant = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.at(index))
            for relid, (inserted, live) in tables.items():
                hour = found.setdefault((instant.replace(minute=0, second=0, microsecond=0), relid), Hour())
                hour.live.append(live)
                if epoch != before_epoch or relid not in before:
                    continue
                grown = inserted - before[relid][0]
                if grown < 0:
                    hour.falls += 1
                else:
                    hour.inserted = (hour.inserted or 0) + grown
            before_epoch, before = epoch, tables
        return found


def _line(relid: int, inserted: int, live: int) -> bytes:
    cells = dict.fromkeys(TABLE_STATS.names, b"\\N")
    cells |= {"relid": b"%d" % relid, "n_tup_ins": b"%d" % inserted, "n_live_tup": b"%d" % live}
    return b"\t".join(cells.values())
