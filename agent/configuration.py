"""The configuration document: pulled from the server, checked, kept on disk, obeyed without a restart."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from urllib3.exceptions import HTTPError

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
    """The document that the agent obeys. `apply` is called with each new one; what it refuses is not obeyed."""

    def __init__(self, path: Path, apply: Callable[[Document], None]) -> None:
        self._path = path
        self._apply = apply
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
            self._apply(received.document)
        except Exception as error:  # noqa: BLE001 - whatever an agent cannot do with it, the server is to know
            reason = explain(error) if isinstance(error, ValidationError) else str(error)
            log.error("the configuration document is refused, the one before stays: %s", reason)
            self.state = self.state.model_copy(
                update={"state": ConfigState.REJECTED, "reason": reason[:1000], "etag": etag[:100]}
            )
            return
        self.document = received.document
        self.state = state
        self._keep(_Kept(etag=etag, answer=received))
        log.info("configuration version %d applied", received.version)
        if state.reason:
            log.warning("%s", state.reason)

    def _read(self) -> _Kept | None:
        try:
            return _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            log.warning("%s cannot be read: built-in defaults until the server answers", self._path)
            return None

    def _keep(self, kept: _Kept) -> None:
        scratch = self._path.with_suffix(".new")
        try:
            scratch.write_text(kept.model_dump_json())
            scratch.chmod(0o600)
            scratch.replace(self._path)
        except OSError as error:
            log.warning("%s: %s; after a restart the agent begins with built-in defaults", self._path, error.strerror)


def _applied(received: VersionedDocument, etag: str) -> Config:
    return Config(
        version=received.version, etag=etag, state=ConfigState.APPLIED, reason=received.document.left_to_default
    )


class Puller(threading.Thread):
    """Pulls at the interval that the document itself sets, with jitter, and whenever it is woken."""

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
            self._woken.wait(every * random.uniform(0.9, 1.1))  # noqa: S311 - the fleet's pulls spread out

    def pull_now(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        """End after the pull in hand; nobody waits for it."""
        self._stopping = True
        self._woken.set()
