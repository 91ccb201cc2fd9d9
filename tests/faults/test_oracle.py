"""The judge itself: it sees every way in which a promise can be broken."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr

from agent.spool import Spool
from contracts.batch import Batch, Frame, Gap, GapReason, Run, Status
from contracts.codec import decode, encode, sha256
from contracts.objects import key_of
from functions.ingest.bucket import DirectoryBucket
from functions.ingest.loader import take
from functions.retention import Retention
from functions.store import Store
from tests.faults.oracle import judge
from tests.faults.witness import Witness

AT = 1_790_000_000_000_000
AGENT = "db-1"


class Case:
    """Ten batches of a real spool: one dropped, with its gap; one set aside by the loader; the others loaded."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.dsn, self.bucket = dsn, folder / "bucket"
        self.bucket.mkdir()
        self.witness = Witness(AGENT, folder / "spool")
        spool = Spool(folder / "spool", 10**9, 10**9)
        self.stream = spool.stream_id
        for number in range(10):
            spool.put(partial(made, number), AT + number, {})
            self.witness.look()
            if number == 4:
                entry = spool.oldest()
                assert entry is not None
                spool._drop([entry], GapReason.SPOOL_FULL)
        self.sent = [entry.path.read_bytes() for entry in spool.entries()]
        spool.close()
        for data in self.sent:
            self.put(data)

    def put(self, data: bytes) -> str:
        key = str(key_of(decode(data), sha256(data)))
        DirectoryBucket(self.bucket).create(key, data)
        store = Store(SecretStr(self.dsn), "tests")
        assert take([key], DirectoryBucket(self.bucket), store, Retention(3650)) == {}
        store.close()
        return key

    def problems(self) -> tuple[str, ...]:
        return judge(self.dsn, self.bucket, [self.witness]).problems

    def execute(self, query: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as store:
            assert store.execute(query.encode()).rowcount > 0, "nothing was changed: the case is none"


def made(number: int, stream_id: UUID, seq: int, gaps: tuple[Gap, ...]) -> bytes:
    at = AT + number
    frame = Frame(metric="host_load", target="host", collected_at=at, columns={"threads": [number]})
    run = Run(collector="host_load", target="host", started_at=at, duration_us=5, status=Status.OK, rows=1)
    return encode(
        Batch(
            agent_id=AGENT,
            stream_id=stream_id,
            seq=seq,
            sent_at=at,
            agent_version="1",
            frames=(frame,),
            runs=(run,),
            gaps=gaps,
        )
    )


@pytest.fixture
def case(tmp_path: Path, store_dsn: str) -> Case:
    return Case(tmp_path, store_dsn)


def test_where_the_promise_was_kept_there_is_nothing_to_say(case: Case) -> None:
    account = judge(case.dsn, case.bucket, [case.witness])
    assert account.problems == ()
    assert (account.loaded, account.quarantined, account.missing, account.told) == (9, 0, 1, 1)


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("delete from metric.host_load where threads = 5", "readings: 1 lost"),
        ("insert into metric.host_load select * from metric.host_load where threads = 5", "readings: 1 too many"),
        ("delete from store.ledger where seq = 5", "neither in the ledger and in quarantine"),
        ("update store.ledger set sha256 = '\\x00' where seq = 5", "another batch is loaded in its place"),
        ("delete from store.gaps", "gaps tell of 0"),
        ("update store.gaps set batches = 2", "gaps: 1 lost"),
        ("insert into store.gaps select * from store.gaps", "gaps: 1 too many"),
        ("insert into store.runs select * from store.runs", "runs: 9 too many"),
        ("delete from store.frames where frame_at[1] = (select max(frame_at[1]) from store.frames)", "frames: 1 lost"),
        (
            "insert into store.quarantine select object_key, agent_id, 'why' from store.ledger where seq = 5",
            "both in the ledger and in quarantine",
        ),
    ],
)
def test_the_store_changed_behind_the_loaders_back_is_seen(case: Case, query: str, what: str) -> None:
    case.execute(query)
    assert what in "\n".join(case.problems())


def test_a_batch_loaded_twice_is_seen(case: Case) -> None:
    case.execute("delete from store.ledger where seq = 7")
    case.put(case.sent[6])  # the loader does not know any more that it had this one
    assert "too many" in "\n".join(case.problems())


def test_an_object_that_vanished_is_seen(case: Case) -> None:
    next(case.bucket.rglob("*-000000000005-*")).unlink()
    assert "is in the ledger and not in the bucket" in "\n".join(case.problems())


def test_a_batch_that_left_the_spool_for_nowhere_is_seen(case: Case) -> None:
    next(case.bucket.rglob("*-000000000005-*")).unlink()
    case.execute("delete from store.ledger where seq = 5")
    case.execute("delete from metric.host_load where threads = 5")
    assert "2 places are empty, gaps tell of 1" in "\n".join(case.problems())


def test_the_last_batches_of_a_stream_cannot_vanish_unseen(case: Case) -> None:
    case.witness.ends[case.stream] += 1
    assert "2 places are empty, gaps tell of 1" in "\n".join(case.problems())


def test_a_whole_stream_that_vanished_is_seen(case: Case) -> None:
    case.witness.ends[uuid4()] = 3
    assert "4 places are empty, gaps tell of 1" in "\n".join(case.problems())


def test_a_place_used_again_is_seen_in_the_bucket(case: Case) -> None:
    case.put(made(99, case.stream, 5, ()))
    assert "has 2 batches in the bucket" in "\n".join(case.problems())


def test_a_place_used_again_is_seen_in_the_spool(case: Case) -> None:
    (case.witness.spool / "000000000009-1.json.gz").write_bytes(made(99, case.stream, 9, ()))
    case.witness.look()
    assert "had another batch before" in "\n".join(case.problems())


@pytest.mark.parametrize("change", [lambda data: data[:-20], lambda data: gzip.compress(gzip.decompress(data) + b" ")])
def test_an_object_whose_content_changed_is_seen(case: Case, change: Callable[[bytes], bytes]) -> None:
    path = next(case.bucket.rglob("*-000000000005-*"))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises((AssertionError, ValueError), match=r"belongs to|gzip"):
        case.problems()


def test_a_gap_that_waits_in_the_spool_is_told(case: Case) -> None:
    case.witness.ends[case.stream] += 1
    state = json.loads((case.witness.spool / "stream.json").read_text())
    state["gaps"] = [{"reason": "spool_full", "from_at": 1, "until_at": 2, "batches": 1}]
    (case.witness.spool / "stream.json").write_text(json.dumps(state))
    case.witness.look()
    assert case.problems() == ()
