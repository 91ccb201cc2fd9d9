"""A loader in a process of its own: the queue, the worker and the function, without the HTTP server around them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import SecretStr

from functions.ingest import loader
from functions.ingest.bucket import open_bucket
from functions.store import Store
from infra.standalone.queue import Queue
from infra.standalone.reconcile import LeftBehind, LeftBehindEnvironment
from infra.standalone.worker import Worker


def app() -> None:
    """Queue what the bucket has and the store has not; load until killed. The environment is that of the function."""
    queue = Queue(Path(sys.argv[1]))
    worker = Worker(queue, loader.handler)
    worker.start()
    store = Store(SecretStr(os.environ["PGANALYTICS_STORE_DSN"]), "faults")
    bucket = open_bucket(os.environ["PGANALYTICS_BUCKET_URL"])
    LeftBehind(bucket, store, queue, LeftBehindEnvironment()).of_all_days()
    worker.join()
