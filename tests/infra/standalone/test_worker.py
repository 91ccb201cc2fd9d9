"""The worker loads everything in the end, and a message that fails holds up no other."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from infra.standalone.events import Event
from infra.standalone.queue import Queue
from infra.standalone.worker import Worker
from tests.agent.polling import until


class Loader:
    """Remembers what it loaded; fails what it is told to."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.refuses: Callable[[str], bool] = lambda _key: False
        self.changed = threading.Condition()
        self.calls = 0

    def __call__(self, event: Event, _context: object) -> dict[str, Any]:
        failures = []
        with self.changed:
            self.calls += 1
            for record in event["Records"]:
                key = unquote_plus(json.loads(record["body"])["Records"][0]["s3"]["object"]["key"])
                if self.refuses(key):
                    failures.append({"itemIdentifier": record["messageId"]})
                else:
                    self.loaded.append(key)
            self.changed.notify_all()
        return {"batchItemFailures": failures}

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 10)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def worker(queue: Queue, loader: Loader) -> Iterator[Worker]:
    running = Worker(queue, loader, first_pause_seconds=0.001, max_pause_seconds=0.002)
    running.start()
    yield running
    assert running.stop(10)


def test_what_is_sent_is_loaded_and_gone(queue: Queue, loader: Loader, worker: Worker) -> None:
    keys = [f"batches/v1/a={number}" for number in range(25)]
    queue.send(*keys)
    loader.wait(lambda: len(loader.loaded) == 25)
    queue.send("late")
    loader.wait(lambda: "late" in loader.loaded)
    assert worker.stop(10)
    assert sorted(loader.loaded) == sorted([*keys, "late"])
    assert queue.depth() == 0


def test_an_outage_kills_no_message(queue: Queue, loader: Loader, worker: Worker) -> None:
    loader.refuses = lambda _key: True
    queue.send("a", "b", "c")
    loader.wait(lambda: loader.calls > 25)
    assert queue.dead() == 0
    loader.refuses = lambda _key: False
    loader.wait(lambda: len(loader.loaded) == 3)


def test_a_loader_that_raises_is_called_again(queue: Queue, loader: Loader, worker: Worker) -> None:
    def breaks_once(_key: str) -> bool:
        loader.refuses = lambda _key: False
        raise RuntimeError("broken")

    loader.refuses = breaks_once
    queue.send("a")
    loader.wait(lambda: loader.loaded == ["a"])


def test_one_failing_message_is_delayed_and_its_neighbours_are_loaded(queue: Queue, loader: Loader) -> None:
    loader.refuses = lambda key: key == "poison"
    queue.send("poison", "good")
    worker = Worker(queue, loader)
    worker.start()
    loader.wait(lambda: loader.loaded == ["good"])
    assert worker.stop(10)
    assert queue.depth() == 1
    assert queue.receive() == []


def test_stopping_finishes_what_is_in_hand(queue: Queue) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def load(event: Event, _context: object) -> dict[str, Any]:
        begun.set()
        assert go_on.wait(10)
        return {"batchItemFailures": []}

    worker = Worker(queue, load)
    worker.start()
    queue.send("a")
    assert begun.wait(10)
    assert not worker.stop(0.01)
    go_on.set()
    assert worker.stop(10)
    assert queue.depth() == 0


@pytest.mark.parametrize("refused", ["delete", "release"])
def test_what_a_full_disk_keeps_from_the_queue_is_told_to_it_later(
    queue: Queue, loader: Loader, worker: Worker, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    tell, refusals = getattr(queue, refused), iter(range(3))

    def full(*arguments: object, **options: object) -> None:
        if next(refusals, None) is not None:
            raise sqlite3.OperationalError("database or disk is full")
        tell(*arguments, **options)

    monkeypatch.setattr(queue, refused, full)
    # Two calls fail as a whole where messages are to be released.
    loader.refuses = lambda _key: refused == "release" and loader.calls <= 2
    queue.send("a", "b")
    loader.wait(lambda: {"a", "b"} <= set(loader.loaded))
    until(lambda: queue.depth() == 0)
    assert next(refusals, None) is None, "nothing was refused"
