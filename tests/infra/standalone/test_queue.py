"""The queue gives every message until it is deleted, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.standalone.queue import Queue, QueueError

ROOT = Path(__file__).parents[3]

SENDER = """
import sys
from pathlib import Path
from infra.standalone.queue import Queue
queue = Queue(Path(sys.argv[1]))
number = 0
while True:
    queue.send(f"body-{number}")
    print(number, flush=True)
    number += 1
    if number % 7 == 0:
        queue.receive(3)
"""


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path)
    yield opened
    opened.close()


def test_a_message_in_hand_is_given_to_nobody_else_and_a_deleted_one_is_gone(queue: Queue) -> None:
    queue.send("a", "b")
    (first,) = queue.receive(1)
    (second,) = queue.receive()
    assert (first.body, second.body) == ("a", "b")
    assert queue.receive() == []
    assert queue.depth() == 2
    queue.delete([first.id, second.id])
    assert queue.depth() == 0


def test_a_released_message_comes_again_behind_those_that_wait(queue: Queue) -> None:
    queue.send("a")
    (message,) = queue.receive()
    queue.send("b")
    queue.release([message.id], 0)
    assert [(each.body, each.receives) for each in (*queue.receive(1), *queue.receive(1))] == [("b", 1), ("a", 2)]


def test_a_released_message_waits_for_its_delay(queue: Queue) -> None:
    queue.send("a")
    queue.release([message.id for message in queue.receive()], 3600)
    assert queue.receive() == []


def test_visibility_ends(queue: Queue) -> None:
    queue.send("a")
    assert queue.receive(visibility_seconds=0)
    (again,) = queue.receive()
    assert again.receives == 2


def test_a_body_that_waits_is_not_queued_twice(queue: Queue) -> None:
    queue.send("a")
    queue.receive()
    queue.send("a", "a")
    assert queue.depth() == 1


def test_a_message_dies_after_its_receives_and_lives_again_when_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue(tmp_path, max_receives=3)
    queue.send("poison", "good")
    for _ in range(3):
        messages = queue.receive()
        queue.release([message.id for message in messages if message.body == "poison"], 0)
        queue.release([message.id for message in messages if message.body == "good"], 0, counted=False)
    assert [message.body for message in queue.receive()] == ["good"]
    assert (queue.depth(), queue.dead()) == (1, 1)
    assert "dead letter" in caplog.text
    queue.send("poison")
    assert [(message.body, message.receives) for message in queue.receive()] == [("poison", 1)]
    assert queue.dead() == 0
    queue.close()


def test_waiting_ends_with_a_message_with_a_due_one_and_with_the_end(queue: Queue) -> None:
    def waits() -> threading.Thread:
        thread = threading.Thread(target=queue.wait, args=(stopped.is_set,), daemon=True)
        thread.start()
        return thread

    stopped = threading.Event()
    waiting = waits()
    queue.send("a")
    waiting.join(5)
    assert not waiting.is_alive()

    queue.release([message.id for message in queue.receive()], 0.05)
    waiting = waits()
    waiting.join(5)
    assert not waiting.is_alive()

    queue.receive()
    waiting = waits()
    stopped.set()
    queue.wake()
    waiting.join(5)
    assert not waiting.is_alive()


def test_the_oldest_tells_how_far_loading_is_behind(queue: Queue) -> None:
    assert queue.oldest_age_seconds() == 0
    queue.send("a")
    assert 0 <= queue.oldest_age_seconds() < 5


def test_many_threads_send_and_receive_each_message_once(queue: Queue) -> None:
    received: list[str] = []

    def send(sender: int) -> None:
        for number in range(25):
            queue.send(f"{sender}-{number}")

    def receive() -> None:
        while len(received) < 100:
            received.extend(message.body for message in queue.receive())

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    threads += [threading.Thread(target=receive, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(received) == len(set(received)) == 100


@pytest.mark.processes
def test_what_was_sent_survives_kill_9(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SENDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as told:
        sent = [int(next(told)) for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        sent += [int(line) for line in told]
    process.wait()
    queue = Queue(tmp_path)
    # Those in hand, too: nobody else can have them.
    found = {message.body for message in queue.receive(10_000)}
    assert {f"body-{number}" for number in sent} <= found
    queue.close()


def test_a_folder_belongs_to_one_server_at_a_time(queue: Queue, tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="another server uses this folder"):
        Queue(tmp_path)


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite3").write_bytes(b"not a database" * 1000)
    with pytest.raises(QueueError, match=r"queue\.sqlite3: file is not a database; .* remove it"):
        Queue(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="No such file or directory"):
        Queue(tmp_path / "missing")
