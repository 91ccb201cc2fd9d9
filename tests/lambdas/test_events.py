"""One contract in two places: what becomes of objects that the loader is told of, exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from contracts.codec import decode, encode
from contracts.limits import MAX_AHEAD_US
from tests.functions.batches import batch as whole_batch
from tests.infra.standalone.serving import batch
from tests.lambdas.places import Place

pytestmark = pytest.mark.processes


def _ledger(place: Place, agent_id: str) -> list[int]:
    return [seq for (seq,) in place.rows("select seq from store.ledger where agent_id = %s order by seq", agent_id)]


def _threads(place: Place, agent_id: str) -> list[int]:
    found = place.rows(
        "select threads from metric.host_load join store.target using (target_id) where agent_id = %s order by threads",
        agent_id,
    )
    return [threads for (threads,) in found]


def _quarantined(place: Place, key: str) -> list[str]:
    return [reason for (reason,) in place.rows("select reason from store.quarantine where object_key = %s", key)]


def test_a_batch_becomes_rows(place: Place) -> None:
    key = place.put(batch(11, agent_id="db-rows"))
    assert place.tell(key) == set()
    assert (_ledger(place, "db-rows"), _threads(place, "db-rows")) == ([11], [11])
    runs = "select collector, status from store.run join store.target using (target_id) where agent_id = 'db-rows'"
    assert place.rows(runs) == [("host_load", "ok")]


def test_an_object_that_is_told_of_often_is_loaded_once(place: Place) -> None:
    keys = [place.put(batch(seq, agent_id="db-once")) for seq in range(5)]
    assert place.tell(*keys, *keys) == set()
    assert place.tell(keys[2]) == set()
    assert (_ledger(place, "db-once"), _threads(place, "db-once")) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_every_metric_becomes_rows(place: Place) -> None:
    made = whole_batch(agent_id="db-whole")
    assert place.tell(place.put(encode(made))) == set()
    told = dict(
        place.rows(
            "select metric, sum(rows)::int from store.frame join store.target using (target_id) "
            "where agent_id = 'db-whole' group by metric"
        )
    )
    assert told == {frame.metric: frame.rows for frame in made.frames}


def _cut_off(place: Place) -> str:
    data = batch(agent_id="db-poison")
    whole = place.put(data)
    return place.put(data[:-20], whole.replace("-000000000001-", "-000000000002-"))


def _under_another_name(place: Place) -> str:
    data = batch(agent_id="db-poison", stream_id=uuid4())
    other = str(decode(data).stream_id)
    return place.put(data, place.put(data).replace(other, str(uuid4())))


def _of_the_future(place: Place) -> str:
    ahead = time.time_ns() // 1000 + 2 * MAX_AHEAD_US
    return place.put(encode(whole_batch(agent_id="db-poison", sent_at=ahead, frames=(), runs=())))


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        (lambda place: place.put(b"nonsense", "batches/v1/nonsense"), "batches/v1/"),
        (_cut_off, "gzip"),
        (_under_another_name, "the content belongs to"),
        (_of_the_future, "ahead of this server"),
    ],
    ids=["no batch's name", "cut off", "under another name", "of the future"],
)
def test_an_object_at_fault_goes_to_quarantine_and_holds_up_nobody(
    place: Place, poison: Callable[[Place], str], reason: str
) -> None:
    seq = time.time_ns() % 1_000_000
    key, good = poison(place), place.put(batch(seq, agent_id="db-beside"))
    assert place.tell(key, good) == set()
    (told,) = _quarantined(place, key)
    assert reason in told
    assert seq in _ledger(place, "db-beside")


def test_what_cannot_be_read_now_is_tried_again_and_holds_up_nobody(place: Place) -> None:
    late, good = batch(1, agent_id="db-late"), batch(2, agent_id="db-late")
    key = place.put(late)
    place.deployment.aws.client("s3").delete_object(Bucket=place.deployment.name, Key=key)
    assert place.tell(key, place.put(good)) == {key}
    assert _ledger(place, "db-late") == [2]
    place.put(late)
    assert place.tell() == set()
    assert _ledger(place, "db-late") == [1, 2]
    assert _quarantined(place, key) == []
