"""The standalone server: HTTP, queue, loader and schedule in one process, from start to drain."""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding

from agent.systemd import tell_systemd
from functions.authorizer import door as identity
from functions.authorizer import handler as authorizer
from functions.authorizer.authority import AuthorityError
from functions.authorizer.authority import load as load_authority
from functions.authorizer.handler import AuthorizerEnvironment
from functions.authorizer.keys import KeysError, load
from functions.authorizer.parts import DoorEnvironment
from functions.config import advance_handler as release
from functions.config import handler as config
from functions.environment import EnvironmentVariableError, read
from functions.ingest import door, loader
from functions.ingest.bucket import open_bucket
from functions.maintenance import handler as maintenance
from functions.maintenance.tasks import MaintenanceEnvironment
from functions.query import handler as query
from functions.store import Store
from infra.standalone import logs
from infra.standalone.app import Functions, Gateway
from infra.standalone.http_server import HttpServer
from infra.standalone.pools import Pools
from infra.standalone.queue import Queue, QueueError
from infra.standalone.reconcile import LeftBehind, LeftBehindEnvironment, Reconciler
from infra.standalone.schedule import schedule
from infra.standalone.settings import Settings, StartError, listen, private_folder, tls_context
from infra.standalone.worker import Worker

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in hand.

    One log line `{"event": "listening", "url": ...}` says where, once connections are accepted; the ready file, if
    one is asked for, then has `{"url": ..., "pid": ...}`, and systemd, if it waits for that, is told.

    Raises:
        StartError: naming what to mend; nothing is running then.
    """
    os.umask(0o077)
    settings.tell_functions()
    logs.configure()
    _check(settings)
    tls = None
    if settings.tls_cert and settings.tls_key:
        tls = tls_context(settings.tls_cert, settings.tls_key, settings.client_ca)
    if settings.authority_file:
        _check_authority(settings.authority_file, tls)
    with _queue(settings) as queue, listen(settings.host, settings.port) as listening:
        if settings.migrate:
            _migrate(settings)
        _serve(settings, queue, listening, tls)
    logger.info("stopped")


def _check(settings: Settings) -> None:
    private_folder(settings.data_dir)
    if settings.bucket_url.startswith("file:"):
        private_folder(Path(urlsplit(settings.bucket_url).path))
    _check_keys(settings.keys_file)
    if settings.ready_file:
        _check_ready_file(settings.ready_file)
    try:
        read(AuthorizerEnvironment)
        read(DoorEnvironment)
        read(loader.LoaderEnvironment)
        read(LeftBehindEnvironment)
        read(MaintenanceEnvironment)
    except EnvironmentVariableError as error:
        raise StartError(str(error)) from error


def _check_keys(file: Path) -> None:
    try:
        load(file)
    except KeysError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            mend = f"make one: pganalytics keys create --keys-file {file}"
            raise StartError(f"the keys file {file} is missing; {mend}") from error
        raise StartError(f"the keys file {error}") from error


def _check_authority(file: Path, tls: ssl.SSLContext | None) -> None:
    try:
        authority = load_authority(file)
    except AuthorityError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            mend = f"make one: pganalytics authority create --authority-file {file}"
            raise StartError(f"the authority file {file} is missing; {mend}") from error
        raise StartError(f"the authority file {error}") from error
    if tls is None or tls.verify_mode is ssl.CERT_NONE:
        return
    trusted = tls.get_ca_certs(binary_form=True)
    if any(each.public_bytes(Encoding.DER) not in trusted for each in authority.certificates):
        raise StartError(
            f"client_ca: it lacks a certificate of the authority in {file}, so agents that enrol could not connect; "
            "write it anew from what `pganalytics authority show` prints"
        )


def _check_ready_file(file: Path) -> None:
    # What the server before wrote there must not be taken for ours.
    try:
        file.unlink(missing_ok=True)
        file.with_name(f".{file.name}.new").touch()
    except OSError as error:
        raise StartError(f"the ready file {file}: {error.strerror}") from error


@contextmanager
def _queue(settings: Settings) -> Iterator[Queue]:
    try:
        queue = Queue(settings.data_dir)
    except QueueError as error:
        raise StartError(str(error)) from error
    try:
        yield queue
    finally:
        queue.close()


def _migrate(settings: Settings) -> None:
    # Alembic takes a quarter of a second to import, which a start without migrations does not wait for.
    from infra.standalone.schema import MigrationError, migrate_store

    try:
        before, after = migrate_store(settings.store_dsn)
    except MigrationError as error:
        raise StartError(str(error)) from error
    logger.info("migrated", extra={"before": before, "after": after})


def _serve(settings: Settings, queue: Queue, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
    pools = Pools()
    handlers = {
        "ingest": door.handler,
        "config": config.handler,
        "query": query.handler,
        "identity": identity.handler,
    }
    http = HttpServer(
        Gateway(Functions(authorizer.handler, handlers, queue.send), pools, settings.limits),
        settings.limits,
        tls=tls,
        drain_seconds=settings.drain_seconds,
        listening=functools.partial(_announce, settings),
    )
    worker = Worker(queue, loader.handler)
    store = Store(settings.store_dsn, "pganalytics reconcile")
    left_behind = LeftBehind(open_bucket(settings.bucket_url), store, queue, read(LeftBehindEnvironment))
    reconciler = Reconciler(left_behind.of_all_days, done=store.close)
    scheduler = schedule(maintenance.handler, queue, left_behind.of_the_last_days, release.handler)
    with _signals(http):
        worker.start()
        reconciler.start()
        scheduler.start()
        http.run([listening])
        tell_systemd("STOPPING=1")
        logger.info("draining", extra={"queued": queue.depth()})
        deadline = time.monotonic() + settings.drain_seconds
        scheduler.shutdown(wait=False)
        pools.close()
        reconciler.stop(max(0, deadline - time.monotonic()))
        if not worker.stop(max(0, deadline - time.monotonic())):
            logger.warning("a load was still running; it will be done again at the next start")


def _announce(settings: Settings, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    url = f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    if settings.ready_file:
        scratch = settings.ready_file.with_name(f".{settings.ready_file.name}.new")
        scratch.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
        scratch.rename(settings.ready_file)  # whoever waits for it finds the whole of it
    tell_systemd("READY=1")
    logger.info("listening", extra={"url": url})


@contextmanager
def _signals(http: uvicorn.Server) -> Iterator[None]:
    # uvicorn raises the signals that stopped it once more when it is done: without handlers of ours beneath, the
    # process would die there, before the loader has finished.
    def stop(_number: int, _frame: FrameType | None) -> None:
        http.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
