"""Deltas in the store: the same from changed frames as from full ones, and never wrong across epochs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from agent.changes import Changes
from contracts.batch import Batch, Frame
from contracts.codec import encode, sha256
from contracts.metrics import DATABASE_STATS, TABLE_STATS
from contracts.names import target_id
from contracts.objects import key_of
from functions.ingest.ledger import Arrival
from functions.ingest.load import Loaded, load
from functions.retention import Retention
from functions.store import Connection, Store

MINUTE = 60_000_000
Reading = tuple[int, dict[int, int]]


@pytest.fixture
def store(store_dsn: str) -> Iterator[Store]:
    opened = Store(SecretStr(store_dsn), "tests")
    yield opened
    opened.close()


@pytest.fixture
def connection(store_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(store_dsn, autocommit=True) as opened:
        yield opened


def _line(relid: int, inserted: int) -> bytes:
    cells = dict.fromkeys(TABLE_STATS.names, b"\\N") | {"relid": b"%d" % relid, "n_tup_ins": b"%d" % inserted}
    return b"\t".join(cells.values())


def _history(seed: int) -> list[Reading]:
    """Epochs and counters of tables that grow, rest, fall, are dropped, come again, and are reset."""
    chance, epoch, tables = random.Random(seed), 1, dict.fromkeys(range(20000, 20008), 0)
    readings = []
    for _ in range(40):
        if chance.random() < 0.05:
            epoch, tables = epoch + 1, dict.fromkeys(tables, 0)
        for relid in list(tables):
            tables[relid] += chance.choice([0, 0, 0, chance.randrange(1, 1000)])
            if chance.random() < 0.02:
                del tables[relid]
        if chance.random() < 0.1:
            tables[chance.randrange(20000, 20012)] = chance.randrange(5)
        readings.append((epoch, dict(tables)))
    return readings


def _send(store: Store, agent: str, history: list[Reading], start: int, *, full: bool) -> None:
    changes, frames = Changes(full_every_seconds=600), []
    for minute, (epoch, tables) in enumerate(history):
        if full:
            changes.forget()
        lines = [_line(relid, inserted) for relid, inserted in tables.items()]
        difference = changes.difference(TABLE_STATS, "main", 5, lines, epoch, minute * 60)
        frames.append(
            Frame(
                metric="table_stats",
                target="main",
                datid=5,
                collected_at=start + minute * MINUTE,
                epoch=epoch,
                mode=difference.mode,
                columns=difference.columns,
                gone=difference.gone,
            )
        )
    _load(store, agent, frames)


def _load(store: Store, agent: str, frames: list[Frame]) -> None:
    batch = Batch(
        agent_id=agent,
        stream_id=uuid4(),
        seq=0,
        sent_at=time.time_ns() // 1000,
        agent_version="1",
        frames=tuple(frames),
    )
    digest = sha256(encode(batch))
    assert load(store, [Arrival(key_of(batch, digest), bytes.fromhex(digest), batch)], Retention(30)) == [Loaded.NEW]


_DELTAS = """
    select collected_at, since_at, relid, n_tup_ins from delta.table_stats(%s, %s, now())
    where n_tup_ins <> 0 order by 1, 3
"""


@pytest.mark.parametrize("seed", range(8))
def test_changed_frames_give_the_deltas_of_full_frames(store: Store, connection: Connection, seed: int) -> None:
    history, start = _history(seed), time.time_ns() // 1000 - 50 * MINUTE
    _send(store, "changed", history, start, full=False)
    _send(store, "full", history, start, full=True)
    found = [
        connection.execute(_DELTAS, (target_id(agent, "main"), "-infinity")).fetchall() for agent in ("changed", "full")
    ]
    assert found[0] == found[1]
    expected = 0
    for (before_epoch, before), (epoch, tables) in itertools.pairwise(history):
        if before_epoch == epoch:
            grown = [value - before[relid] for relid, value in tables.items() if relid in before]
            expected += sum(value for value in grown if value > 0)
    assert sum(row[3] for row in found[0]) == expected


def test_the_first_delta_of_a_stretch_of_time_is_known(store: Store, connection: Connection) -> None:
    start = time.time_ns() // 1000 - 50 * MINUTE
    _send(store, "a", [(1, {20000: minute}) for minute in range(40)], start, full=False)
    rows = connection.execute(_DELTAS, (target_id("a", "main"), "now")).fetchall()
    assert rows == []
    ten = connection.execute(
        "select count(*), sum(n_tup_ins) from delta.table_stats(%s, to_timestamp(%s), to_timestamp(%s))",
        (target_id("a", "main"), (start + 10 * MINUTE) / 1e6, (start + 20 * MINUTE) / 1e6),
    ).fetchone()
    assert ten == (10, 10)


def test_a_counter_that_falls_within_an_epoch_is_shown_as_an_anomaly(store: Store, connection: Connection) -> None:
    start = time.time_ns() // 1000 - 10 * MINUTE
    _send(store, "a", [(1, {20000: value, 20001: 2 * value}) for value in (10, 25, 3, 4)], start, full=True)
    found = connection.execute(
        "select n_tup_ins, fell from delta.table_stats(%s, '-infinity', now()) where relid = 20000 order by 1, 2",
        (target_id("a", "main"),),
    ).fetchall()
    assert found == [(1, False), (15, False), (None, False), (None, True)]


def test_a_database_that_was_reset_begins_an_epoch_of_its_own(store: Store, connection: Connection) -> None:
    start = time.time_ns() // 1000 - 10 * MINUTE
    frames = [
        Frame(
            metric=DATABASE_STATS.name,
            target="main",
            collected_at=start + minute * MINUTE,
            epoch=1,
            columns={"datid": [5, 6], "xact_commit": [commits, minute], "stats_reset_at": [reset, None]},
        )
        for minute, (commits, reset) in enumerate([(1000, None), (1010, None), (3, start), (5, start)])
    ]
    _load(store, "a", frames)
    found = connection.execute(
        "select datid, xact_commit from delta.database_stats(%s, '-infinity', now()) order by datid, collected_at",
        (target_id("a", "main"),),
    ).fetchall()
    assert found == [(5, None), (5, 10), (5, None), (5, 2), (6, None), (6, 1), (6, 1), (6, 1)]
