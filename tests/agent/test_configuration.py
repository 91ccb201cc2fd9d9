"""Promises of the configuration: a good document is obeyed and kept, a bad one refused whole, and the server may go."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.configuration import Configuration, Puller
from agent.transports.http import ServerClient
from contracts.batch import Batch, Config, ConfigState
from contracts.document import Document
from tests.agent.door import Answer, Door, configuration
from tests.agent.polling import until


class Applied(list[Document]):
    """What the agent was told to obey."""


@pytest.fixture
def applied() -> Applied:
    return Applied()


@pytest.fixture
def make(tmp_path: Path, applied: Applied) -> Callable[[], Configuration]:
    return lambda: Configuration(tmp_path / "configuration.json", applied.append)


def test_before_anybody_says_anything_defaults_hold(make: Callable[[], Configuration]) -> None:
    fresh = make()
    assert fresh.document == Document()
    assert fresh.state == Config(version=0, state=ConfigState.DEFAULT)


def test_a_new_document_is_obeyed_and_kept_over_a_restart(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door, applied: Applied, tmp_path: Path
) -> None:
    open_door.answer = lambda _: configuration(7, {"upload_every_seconds": 5}, '"seven"')
    first = make()
    first.pull(client)
    assert applied == [Document(upload_every_seconds=5)]
    expected = Config(version=7, etag='"seven"', state=ConfigState.APPLIED)
    assert first.state == expected

    open_door.answer = lambda _: Answer(503)
    again = make()
    again.pull(client)
    assert again.document == Document(upload_every_seconds=5)
    assert again.state == expected
    assert open_door.asked[-1].headers["If-None-Match"] == '"seven"'
    assert stat.S_IMODE((tmp_path / "configuration.json").stat().st_mode) == 0o600


def test_an_unchanged_document_is_not_applied_again(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door, applied: Applied
) -> None:
    open_door.answer = lambda asked: (
        Answer(304) if asked.headers["If-None-Match"] == '"one"' else configuration(1, {}, '"one"')
    )
    held = make()
    for _ in range(3):
        held.pull(client)
    assert len(applied) == 1
    assert held.state.version == 1


BAD: list[dict[str, object]] = [
    {"upload_every_seconds": 0},
    {"upload_every_seconds": "soon"},
    {"databases": {"include": []}},
    {"metrics": {"host_cpu": {"every_seconds": 0.5}}},
    {"preset": "of_tomorrow"},
    {"databases": {"include": ["app", "[a-"]}},
    {"databases": {"exclude": ["a\0b"]}},
    {"logs": {"least_severity": "loud"}},
]


@pytest.mark.parametrize("document", BAD)
def test_a_bad_document_is_refused_whole_with_the_reason_in_the_state(
    make: Callable[[], Configuration],
    client: ServerClient,
    open_door: Door,
    applied: Applied,
    document: dict[str, object],
) -> None:
    open_door.answer = lambda _: configuration(1, {"pull_every_seconds": 9}, '"good"')
    held = make()
    held.pull(client)
    open_door.answer = lambda _: configuration(2, {"pull_every_seconds": 8, **document}, '"bad"')
    held.pull(client)
    assert held.document.pull_every_seconds == 9
    assert len(applied) == 1
    assert (held.state.version, held.state.etag, held.state.state) == (1, '"bad"', ConfigState.REJECTED)
    assert (held.state.reason or "").startswith("document")
    assert next(iter(document)) in (held.state.reason or "")
    assert make().state == Config(version=1, etag='"good"', state=ConfigState.APPLIED), "the good one is kept"
    # The fleet goes back to the good one.
    open_door.answer = lambda _: configuration(1, {"pull_every_seconds": 9}, '"good"')
    held.pull(client)
    assert held.state.state is ConfigState.APPLIED


def test_what_the_agent_cannot_apply_is_refused(tmp_path: Path, client: ServerClient, open_door: Door) -> None:
    def refuse(_: Document) -> None:
        raise ValueError("there is no such thing here")

    open_door.answer = lambda _: configuration(3, {}, '"three"')
    held = Configuration(tmp_path / "configuration.json", refuse)
    held.pull(client)
    assert (held.state.state, held.state.reason) == (ConfigState.REJECTED, "there is no such thing here")
    assert not (tmp_path / "configuration.json").exists()


def test_an_old_agent_ignores_what_it_does_not_know(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door
) -> None:
    metrics = {"a_metric_of_the_future": {"every_seconds": 1}, "host_cpu": {"every_seconds": 7, "depth": 3}}
    open_door.answer = lambda _: configuration(4, {"metrics": metrics, "budget": {"cpu": 1}}, '"four"')
    held = make()
    held.pull(client)
    assert held.state.state is ConfigState.APPLIED
    assert held.document.interval("host_cpu") == 7


def test_what_cannot_be_applied_is_taken_back_whole(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door, tmp_path: Path
) -> None:
    obeyed: dict[str, int] = {}

    def apply(document: Document) -> None:
        obeyed["first"] = document.pull_every_seconds
        if document.pull_every_seconds == 8:
            raise ValueError("not here\0")
        obeyed["second"] = document.pull_every_seconds

    held = Configuration(tmp_path / "configuration.json", apply)
    for etag, seconds in (("good", 9), ("bad", 8)):
        open_door.answer = lambda _, etag=etag, seconds=seconds: configuration(  # type: ignore[misc]
            seconds, {"pull_every_seconds": seconds}, f'"{etag}"'
        )
        held.pull(client)
    assert obeyed == {"first": 9, "second": 9}
    assert held.state == Config(version=9, etag='"bad"', state=ConfigState.REJECTED, reason="not here")
    Config.model_validate(held.state.model_dump())


def test_whoever_is_told_of_a_state_finds_the_document_that_it_is_of(
    tmp_path: Path, client: ServerClient, open_door: Door
) -> None:
    told: list[tuple[int, ConfigState, int]] = []

    def tell() -> None:
        told.append((held.state.version, held.state.state, held.document.upload_every_seconds))

    held = Configuration(tmp_path / "configuration.json", lambda _: None, tell)
    for version, seconds in ((1, 5), (2, 0), (3, 7)):
        open_door.answer = lambda _, version=version, seconds=seconds: configuration(  # type: ignore[misc]
            version, {"upload_every_seconds": seconds}, f'"{version}"'
        )
        held.pull(client)
    open_door.answer = lambda _: Answer(304)
    held.pull(client)
    assert told == [(1, ConfigState.APPLIED, 5), (1, ConfigState.REJECTED, 5), (3, ConfigState.APPLIED, 7)]


def test_a_kept_document_that_this_version_does_not_know_is_as_none_and_the_log_says_why(
    make: Callable[[], Configuration], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {"etag": "x", "answer": {"version": 3, "document": {"preset": "of_tomorrow"}}}
    (tmp_path / "configuration.json").write_text(json.dumps(kept))
    assert make().state == Config()
    assert "'of_tomorrow'" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [Answer(200, {}, b"not json"), Answer(200, {"ETag": "x" * 200}, b'{"version": 1, "document": {}}')],
    ids=["not json", "endless etag"],
)
def test_an_answer_out_of_place_leaves_a_state_that_a_batch_can_carry(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door, answer: Answer
) -> None:
    open_door.answer = lambda _: answer
    held = make()
    held.pull(client)
    assert held.state.state is ConfigState.REJECTED
    Config.model_validate(held.state.model_dump())
    assert Batch.model_fields["config"].annotation is Config


@pytest.mark.parametrize("status", [401, 404, 500])
def test_without_an_answer_the_last_good_one_stays(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door, status: int
) -> None:
    open_door.answer = lambda _: configuration(1, {"pull_every_seconds": 9}, '"good"')
    held = make()
    held.pull(client)
    before = held.state
    open_door.answer = lambda _: Answer(status)
    held.pull(client)
    assert (held.state, held.document.pull_every_seconds) == (before, 9)


@pytest.mark.parametrize("content", [b"", b"{", json.dumps({"etag": "x", "answer": {"version": "no"}}).encode()])
def test_a_kept_document_that_cannot_be_read_is_as_none(
    make: Callable[[], Configuration], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "configuration.json").write_bytes(content)
    assert make().state == Config()


def test_a_document_is_obeyed_even_where_it_cannot_be_kept(
    tmp_path: Path, applied: Applied, client: ServerClient, open_door: Door
) -> None:
    open_door.answer = lambda _: configuration(1, {"pull_every_seconds": 9}, '"good"')
    held = Configuration(tmp_path / "nowhere" / "configuration.json", applied.append)
    held.pull(client)
    assert held.state.state is ConfigState.APPLIED


def test_the_next_pull_is_never_later_than_the_interval(
    make: Callable[[], Configuration], client: ServerClient, open_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_door.answer = lambda _: configuration(1, {"pull_every_seconds": 3600}, '"good"')
    puller = Puller(make(), client)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        puller._stopping = len(waits) == 100
        return True

    monkeypatch.setattr(puller._woken, "wait", wait)
    puller.run()
    assert 3240 <= min(waits) < max(waits) <= 3600
    assert len(set(waits)) > 50, "they spread out"


def test_a_puller_pulls_at_once_and_when_it_is_woken_whatever_happens(
    tmp_path: Path, client: ServerClient, open_door: Door
) -> None:
    def broken(_: Document) -> None:
        raise KeyError("a fault of ours")

    open_door.answer = lambda _: configuration(1, {"pull_every_seconds": 3600}, '"good"')
    puller = Puller(Configuration(tmp_path / "configuration.json", broken), client)
    puller.start()
    for pulls in range(1, 4):
        until(lambda pulls=pulls: len(open_door.asked) >= pulls)  # type: ignore[misc]
        puller.pull_now()
    puller.stop()
    puller.join(30)
    assert not puller.is_alive()
    assert puller._configuration.state.state is ConfigState.REJECTED
