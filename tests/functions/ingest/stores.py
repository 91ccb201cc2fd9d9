"""Everything that a store holds of batches, in a form that two stores can be compared by."""

from __future__ import annotations

import random
from collections.abc import Iterator
from uuid import UUID

from contracts.batch import Batch, Config, ConfigState, Frame, Gap, GapReason, Mode, Status
from contracts.metrics import CATALOGUE, METRICS
from functions.store import Store
from tests.functions.batches import MINUTE_US, batch, columns, frame, run

TABLES = (
    *(f"metric.{metric.name}" for metric in METRICS),
    *(f"store.{name}" for name in ("runs", "frames", "gaps", "target", "agent", "ledger", "quarantine")),
)


def contents(store: Store) -> dict[str, tuple[int, str]]:
    """Rows and checksum of every table, but for when the rows were written."""
    with store.transaction() as connection:
        found = {}
        for table in TABLES:
            row = connection.execute(
                f"""
                select count(*), coalesce(md5(string_agg(said, E'\\n' order by said)), '')
                from (select (to_jsonb(t) - 'loaded_at' - 'quarantined_at')::text collate "C" as said from {table} t)
                """
            ).fetchone()
            assert row is not None
            found[table] = (int(row[0]), str(row[1]))
    return found


def fleet(chance: random.Random, now: int, agents: int = 3, minutes: int = 8) -> Iterator[Batch]:
    """What some agents send in some minutes: full and changed frames, keys that are gone, gaps, failed runs."""
    for number in range(agents):
        stream = UUID(int=chance.getrandbits(128), version=4)
        for seq in range(minutes):
            # Two batches of one instant: a minute that was too large for one.
            at = now - (minutes - seq // 2 * 2) * MINUTE_US
            names = chance.sample(sorted(CATALOGUE), 12)
            made = [_frame(chance, name, at - chance.randrange(MINUTE_US), seq) for name in names]
            yield batch(
                seq,
                sent_at=at,
                stream_id=stream,
                agent_id=f"db-{number}",
                frames=made,
                runs=[run(each.metric, each.collected_at) for each in made]
                + [run("table_stats", at - 5, Status.ERROR, "refused")] * (seq % 2),
            ).model_copy(
                update={
                    "agent_version": f"0.{chance.randrange(3)}.0",
                    "config": Config(version=chance.randrange(3), state=ConfigState.APPLIED),
                    "gaps": _gaps(chance, at),
                }
            )


def _frame(chance: random.Random, name: str, at: int, seq: int) -> Frame:
    metric = CATALOGUE[name]
    if not metric.changes or seq % 4 == 0:
        return frame(name, at, seq, rows=chance.randrange(1, 5))
    key = {column: values for column, values in columns(metric, 2).items() if column in metric.key}
    changed = frame(name, at, seq, Mode.CHANGED, chance.randrange(1, 5))
    return Frame.model_validate({**changed.model_dump(), "gone": key}) if chance.random() < 0.5 else changed


def _gaps(chance: random.Random, at: int) -> tuple[Gap, ...]:
    if chance.random() < 0.7:
        return ()
    return (Gap(reason=GapReason.SPOOL_FULL, from_at=at - 9 * MINUTE_US, until_at=at - MINUTE_US, batches=8),)
