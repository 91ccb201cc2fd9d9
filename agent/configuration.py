"""The configuration document: pulled from the server, checked, kept on disk, obeyed without a restart."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from urllib3.exceptions import HTTPError

from agent.durable import sync, write
from agent.transports.http import ServerClient
from agent.transports.tokens import TokenError
from contracts.batch import Config, ConfigState
from contracts.codec import explain
from contracts.document import Document, VersionedDocument

log = logging.getLogger(__name__)


class _Kept(BaseModel):
    """The last good document, as it stands on disk."""

    model_config = ConfigDict(frozen=True)

    etag: str
    answer: VersionedDocument


class Configuration:
    """The document that the agent obeys. `apply` is called with each new one.

    One that is not valid, or that `apply` fails at, is refused whole: the one before stays, and `state` says why.
    `tell` is called whenever the state is another one.
    """

    def __init__(self, path: Path, apply: Callable[[Document], None], tell: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._apply = apply
        self._tell = tell
        kept = self._read()
        self.document = kept.answer.document if kept else Document()
        self.state = _applied(kept.answer, kept.etag) if kept else Config()
        self._seen_etag = kept.etag if kept else None

    def pull(self, server: ServerClient) -> None:
        """Ask the server for a newer document, and obey it. Without an answer the last good one stays."""
        headers = {"If-None-Match": self._seen_etag} if self._seen_etag else {}
        try:
            answer = server.request("GET", "/v1/config", headers)
        except (TokenError, HTTPError) as error:
            why = error if isinstance(error, TokenError) else type(error).__name__
            log.warning("no configuration from the server: %s", why)
            return
        if answer.status == 304:
            return
        if answer.status != 200:
            log.warning("no configuration from the server: it answered %d", answer.status)
            return
        etag = answer.headers.get("ETag", "")
        self._seen_etag = etag
        try:
            received = VersionedDocument.model_validate_json(answer.data)
            state = _applied(received, etag)
            self._obey(received.document)
        except Exception as error:  # noqa: BLE001 - whatever an agent cannot do with it, the server is to know
            reason = _why(error)
            log.error("the configuration document is refused, the one before stays: %s", reason)
            self.state = self.state.model_copy(
                update={"state": ConfigState.REJECTED, "reason": reason, "etag": etag[:100]}
            )
            self._tell()
            return
        self.document = received.document
        self.state = state
        self._keep(_Kept(etag=etag, answer=received))
        self._tell()
        log.info("configuration version %d applied", received.version)

    def _obey(self, document: Document) -> None:
        try:
            self._apply(document)
        except Exception:
            self._apply(self.document)  # part of the other may be obeyed already
            raise

    def _read(self) -> _Kept | None:
        try:
            return _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("%s: %s; built-in defaults until the server answers", self._path, _why(error))
            return None

    def _keep(self, kept: _Kept) -> None:
        scratch = self._path.with_suffix(".new")
        try:
            write(scratch, kept.model_dump_json().encode())
            scratch.replace(self._path)
            sync(self._path.parent)
        except OSError as error:
            log.warning("%s: %s; after a restart the agent begins with built-in defaults", self._path, error.strerror)


def _applied(received: VersionedDocument, etag: str) -> Config:
    return Config(version=received.version, etag=etag, state=ConfigState.APPLIED)


def _why(error: Exception) -> str:
    text = explain(error) if isinstance(error, ValidationError) else str(error) or type(error).__name__
    return text.replace("\0", "")[:1000]  # as the state of a batch can have it


class Puller(threading.Thread):
    """Pulls at the interval that the document itself sets, a little earlier by chance, and whenever it is woken."""

    def __init__(self, configuration: Configuration, server: ServerClient) -> None:
        super().__init__(name="puller", daemon=True)
        self._configuration = configuration
        self._server = server
        self._woken = threading.Event()
        self._stopping = False

    def run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                self._configuration.pull(self._server)
            except Exception:  # the fleet must be able to reach this agent with a better document
                log.exception("the configuration could not be pulled")
            every = self._configuration.document.pull_every_seconds
            # The fleet's pulls spread out; what is saved is known to everyone when the interval is over.
            self._woken.wait(every * random.uniform(0.9, 1.0))  # noqa: S311

    def pull_now(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        """End after the pull in hand; nobody waits for it."""
        self._stopping = True
        self._woken.set()
