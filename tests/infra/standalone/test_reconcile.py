"""At the start it is tried until it succeeds."""

from __future__ import annotations

import threading

from functions.ingest.reconcile import Reconciled
from functions.store import StoreUnavailableError
from infra.standalone.reconcile import Reconciler


def test_it_is_tried_again_until_the_store_is_there() -> None:
    outcomes: list[Exception | Reconciled] = [StoreUnavailableError("away"), RuntimeError("odd"), Reconciled(7, 7)]
    calls = 0
    closed = threading.Event()

    def once() -> Reconciled:
        nonlocal calls
        calls += 1
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    reconciler = Reconciler(once, done=closed.set, first_pause_seconds=0.001)
    reconciler.start()
    reconciler.join(10)
    assert (calls, closed.is_set()) == (3, True)


def test_stopping_ends_a_pause() -> None:
    called, closed = threading.Event(), threading.Event()

    def once() -> Reconciled:
        called.set()
        raise StoreUnavailableError("away")

    reconciler = Reconciler(once, done=closed.set, first_pause_seconds=3600)
    reconciler.start()
    assert called.wait(10)
    reconciler.stop(10)
    assert not reconciler.is_alive()
    assert closed.is_set()
