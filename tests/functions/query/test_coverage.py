"""Which times an agent's targets are covered for, and why not the others: a question to the store."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from contracts.batch import Batch, Gap, GapReason, Status
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import take
from functions.query.coverage import _ISLANDS
from functions.query.handler import handler
from functions.retention import Retention
from functions.store import Connection, Store
from tests.functions.batches import AGENT, DAY_US, MINUTE_US, SERVER, batch, frame, now_us, packed, run
from tests.functions.events import operator_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")

STREAM = UUID("8d0a4c1e-0000-4000-8000-000000000001")

#: An hour that has ended, in whole minutes; its instants are minutes of it.
BEGAN = now_us() // MINUTE_US * MINUTE_US - 70 * MINUTE_US
if BEGAN // DAY_US != (BEGAN + 62 * MINUTE_US) // DAY_US:
    BEGAN -= 180 * MINUTE_US  # on one side of midnight: a key has the day of its batch


def minute(number: float) -> int:
    return BEGAN + round(number * MINUTE_US)


def said(number: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=minute(number))).isoformat()


@pytest.fixture
def bucket(bucket_folder: Path) -> DirectoryBucket:
    return DirectoryBucket(bucket_folder)


def sent(number: int, *, host: bool = True, server: bool = True, **more: Any) -> Batch:
    """The batch of one minute: each target is read once in it."""
    made = [frame("host_load", minute(number))] * host + [frame("cluster", minute(number))] * server
    return batch(number, sent_at=minute(number) + 1, stream_id=STREAM, frames=made, **more)


def load(bucket: DirectoryBucket, store: Store, batches: Iterable[Batch]) -> None:
    keys = []
    for each in batches:
        key, data = packed(each)
        bucket.create(key, data)
        keys.append(key)
    assert take(keys, bucket, store, Retention(30)) == {}


def ask(agent: str = AGENT, **query: str) -> dict[str, Any]:
    return handler(request("GET", f"/v1/agents/{agent}/coverage", query or None, claims=operator_claims()), None)


def hour(from_minute: float = 0, to_minute: float = 60, **query: str) -> dict[str, dict[str, Any]]:
    """The coverage of each target, with instants as minutes of the hour."""
    answer = ask(**{"from": said(from_minute), "to": said(to_minute)}, **query)
    assert answer["statusCode"] == 200, answer["body"]
    return {target["name"]: _in_minutes(target) for target in json.loads(answer["body"])["targets"]}


def _in_minutes(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _minute(each) if name.endswith("_at") else _in_minutes(each) for name, each in value.items()}
    return [_in_minutes(each) for each in value] if isinstance(value, list) else value


def _minute(instant: str) -> float:
    return (datetime.fromisoformat(instant).timestamp() * 1_000_000 - BEGAN) / MINUTE_US


def whys(target: dict[str, Any]) -> list[tuple[int, int, list[str]]]:
    """The uncovered stretches in whole minutes, and their reasons."""
    return [
        (round(each["from_at"]), round(each["to_at"]), [reason["reason"] for reason in each["reasons"]])
        for each in target["uncovered"]
    ]


def test_what_was_read_every_minute_is_covered(bucket: DirectoryBucket, store: Store) -> None:
    load(bucket, store, (sent(number) for number in range(62)))
    for target in hour().values():
        assert target["covered"] == [{"from_at": 0, "to_at": 60}]
        assert (target["covered_share"], target["uncovered"]) == (1, [])


def test_three_minutes_apart_is_covered_and_more_is_not(bucket: DirectoryBucket, store: Store) -> None:
    load(bucket, store, (sent(number) for number in (0, 3, 6, 10, 13)))
    host = hour(0, 13)["host"]
    assert [(each["from_at"], each["to_at"]) for each in host["covered"]] == [(0, 6), (10, 13)]
    assert host["covered_share"] == pytest.approx(9 / 13)
    assert hour(0, 13, every_seconds="80")["host"]["covered_share"] == 1


def test_an_agent_that_was_down_and_one_that_is_gone(bucket: DirectoryBucket, store: Store) -> None:
    numbers = [*range(10, 21), *range(30, 41)]
    load(bucket, store, (sent(number).model_copy(update={"seq": seq}) for seq, number in enumerate(numbers)))
    for target in hour().values():
        assert whys(target) == [
            (0, 10, ["before_first"]),
            (20, 30, ["not_running"]),
            (40, 60, ["after_last"]),
        ]


def test_a_server_that_could_not_be_reached(bucket: DirectoryBucket, store: Store) -> None:
    def failed(number: int) -> Batch:
        runs = [run("cluster", minute(number), Status.ERROR, "connection refused"), run("host_load", minute(number))]
        return sent(number, server=False, runs=runs)

    load(bucket, store, (failed(number) if 20 < number < 40 else sent(number) for number in range(62)))
    found = hour()
    assert found["host"]["covered_share"] == 1
    assert whys(found[SERVER]) == [(20, 40, ["unreachable"])]
    (reason,) = found[SERVER]["uncovered"][0]["reasons"]
    assert (reason["detail"], reason["from_at"], reason["to_at"]) == ("cluster: error: connection refused", 21, 39)


def test_what_the_spool_dropped_is_a_gap_and_nothing_is_missing(bucket: DirectoryBucket, store: Store) -> None:
    gap = Gap(reason=GapReason.SPOOL_FULL, from_at=minute(21), until_at=minute(39), batches=19, detail="full")
    numbers = [*range(21), *range(40, 62)]
    batches = [sent(number) for number in numbers]
    batches[-1] = batches[-1].model_copy(update={"gaps": (gap,)})
    load(bucket, store, batches)
    for target in hour().values():
        assert whys(target) == [(20, 40, ["gap"])]
        assert target["uncovered"][0]["reasons"][0]["detail"] == "spool_full: full"


def test_a_gap_of_one_target_is_not_told_of_another(bucket: DirectoryBucket, store: Store) -> None:
    gap = Gap(reason=GapReason.MISSED, from_at=minute(21), until_at=minute(39), target=SERVER, collector="cluster")
    batches = [sent(number, host=not 20 < number < 40, server=not 20 < number < 40) for number in range(62)]
    batches[-1] = batches[-1].model_copy(update={"gaps": (gap,)})
    load(bucket, store, batches)
    found = hour()
    assert whys(found["host"]) == [(20, 40, ["not_running"])]
    assert whys(found[SERVER]) == [(20, 40, ["gap"])]
    assert found[SERVER]["uncovered"][0]["reasons"][0]["detail"] == "missed: cluster"


def test_batches_that_are_on_their_way_or_never_came(
    bucket: DirectoryBucket, store: Store, connection: Connection
) -> None:
    load(bucket, store, (sent(number) for number in range(62) if not 20 < number < 40))
    (hole,) = hour()["host"]["uncovered"]
    (reason,) = hole["reasons"]
    assert reason["reason"] == "in_flight"
    assert reason["detail"] == f"19 of the batches after 20 and before 40 of stream {STREAM}"
    connection.execute("update store.ledger set loaded_at = loaded_at - interval '1 day'")
    assert whys(hour()["host"]) == [(20, 40, ["missing"])]


def test_a_batch_in_quarantine_is_placed_between_its_neighbours(bucket: DirectoryBucket, store: Store) -> None:
    load(bucket, store, (sent(number) for number in (*range(10), 30)))
    key, data = packed(sent(20))
    bucket.create(key, data[:-20])
    assert take([key], bucket, store, Retention(30)) == {}
    (hole,) = hour(0, 30)["host"]["uncovered"]
    found = {each["reason"]: each for each in hole["reasons"]}
    assert found.keys() == {"in_flight", "quarantined"}
    assert found["quarantined"]["detail"] == "not gzip: the data ends too early"
    assert (round(found["quarantined"]["from_at"]), round(found["quarantined"]["to_at"])) == (9, 30)
    assert found["in_flight"]["detail"].startswith("19 of the batches")


def test_a_name_that_is_no_batches_does_not_hurt(bucket: DirectoryBucket, store: Store, connection: Connection) -> None:
    load(bucket, store, [sent(0), sent(1)])
    strange = (
        f"batches/v1/agent={AGENT}/strange",
        f"batches/v1/agent={AGENT}/dt=2026-99-99/{STREAM}-{0:012}-{0:016}.json.gz",
    )
    for key in strange:
        connection.execute("insert into store.quarantine values (%s, %s, 'strange')", (key, AGENT))
    assert whys(hour(0, 1)["host"]) == []


def test_batches_that_are_closed_late_and_come_in_any_order(bucket: DirectoryBucket, store: Store) -> None:
    late = batch(
        1, sent_at=minute(59), stream_id=STREAM, frames=[frame("host_load", minute(number)) for number in range(1, 59)]
    )
    load(bucket, store, [batch(2, sent_at=minute(61), stream_id=STREAM, frames=[frame("host_load", minute(60))])])
    load(bucket, store, [late, batch(0, sent_at=minute(0), stream_id=STREAM, frames=[frame("host_load", minute(0))])])
    assert hour()["host"]["covered_share"] == 1
    assert hour(5, 10)["host"]["covered_share"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_readings_spread_over_batches_in_any_way_cover_the_same(
    seed: int, bucket: DirectoryBucket, store: Store
) -> None:
    chance = random.Random(seed)
    readings = sorted(chance.sample(range(-300, 3_900), chance.randrange(5, 40)))
    batches: list[list[int]] = [[] for _ in range(6)]
    for second in readings:
        chance.choice(batches).append(second)
    load(
        bucket,
        store,
        (
            batch(seq, sent_at=minute(66), stream_id=STREAM, frames=[frame("host_load", minute(s / 60)) for s in some])
            for seq, some in enumerate(batches)
            if some
        ),
    )
    pairs = [(one, other) for one, other in pairwise(readings) if other - one <= 180]
    expected = sum(max(0, min(3_600, other) - max(0, one)) for one, other in pairs) / 3_600
    host = hour()["host"]
    assert host["covered_share"] == pytest.approx(expected)
    both = sorted((each["from_at"], each["to_at"]) for each in (*host["covered"], *host["uncovered"]))
    assert (both[0][0], both[-1][1]) == (0, 60)
    assert all(one[1] == other[0] for one, other in pairwise(both))


def test_the_hour_that_summer_time_skips_or_repeats_is_an_hour_like_others(
    bucket: DirectoryBucket, store: Store
) -> None:
    load(bucket, store, (sent(number) for number in range(62)))
    answers = []
    for offset in (0, 1, 2):
        zone = timedelta(hours=offset)
        begins = datetime.fromisoformat(said(0)) + zone
        ends = datetime.fromisoformat(said(60)) + zone
        mark = f"+0{offset}:00"
        answer = ask(**{"from": begins.isoformat()[:19] + mark, "to": ends.isoformat()[:19] + mark})
        answers.append(json.loads(answer["body"]))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["from_at"].endswith("Z")


def test_only_the_partitions_of_the_time_are_read(connection: Connection) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"):
        connection.execute("select store.make_partitions(%s::date)", (day,))
    begins = datetime(2026, 1, 2, 12, tzinfo=UTC)
    parameters = {
        "targets": [1],
        "first_at": begins,
        "last_batch_at": begins + timedelta(hours=2),
        "reach": timedelta(minutes=3),
    }
    plan = str(connection.execute("explain " + _ISLANDS, parameters).fetchall())
    assert "store_frames_20260102" in plan
    assert not {day for day in ("20260101", "20260103", "20260104") if day in plan}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"from": "yesterday"}, "from: "),
        ({"from": "2026-01-01"}, "an instant of RFC 3339"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from: not before to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from: not before to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:01Z"}, "more than 31 days apart"),
        ({"to": "0001-01-01T00:00:00Z"}, "between the years"),
        ({"every_seconds": "0"}, "every_seconds"),
    ],
)
def test_what_is_asked_wrongly_is_said(query: dict[str, str], says: str) -> None:
    status, detail = problem(ask(**query))
    assert (status, says in detail) == (422, True), detail


def test_an_agent_that_nobody_knows() -> None:
    assert problem(ask("nobody")) == (404, "there is no agent nobody")


def test_an_agent_that_has_sent_nothing_of_any_target(bucket: DirectoryBucket, store: Store) -> None:
    load(bucket, store, [batch(frames=[])])
    assert json.loads(ask()["body"])["targets"] == []
