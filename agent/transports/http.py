"""Speaks to the server: TLS 1.3 or newer, with the agent's access token."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from agent.settings import ServerSettings
from agent.transports.outcome import Delivered, Later, Outcome, Rejected
from contracts.version import __version__

_TIMEOUT = urllib3.Timeout(connect=5, read=30)

#: The server looked at the batch and refuses this very content.
_REFUSED = {400, 403, 413, 415, 422}


class ServerClient:
    """The server's HTTP API, as an agent uses it. Threads may share it."""

    def __init__(self, settings: ServerSettings) -> None:
        self._url = settings.url.rstrip("/")
        self._token_file = settings.token_file
        self._lock = threading.Lock()
        self._skew_us: int | None = None
        self._pool = urllib3.PoolManager(maxsize=2, timeout=_TIMEOUT, retries=False, ssl_context=_tls(settings.ca_file))

    @property
    def skew_us(self) -> int | None:
        """How far this host's clock is ahead of the server's, by its last answer; None before the first."""
        with self._lock:
            return self._skew_us

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request with the token.

        Raises:
            OSError: the token's file cannot be read.
            urllib3.exceptions.HTTPError: there was no answer.
        """
        # Read anew each time: whoever renews the token only has to replace the file.
        token = self._token_file.read_text().strip()
        answer = self._pool.request(
            method,
            self._url + path,
            headers={"Authorization": f"Bearer {token}", "User-Agent": f"pganalytics-agent/{__version__}"}
            | dict(headers or {}),
            body=body,
            redirect=False,  # the token is for this server and no other
        )
        self._compare_clocks(answer.headers.get("Date"))
        return answer

    def send(self, data: bytes) -> Outcome:
        """Upload one batch."""
        try:
            answer = self.request("POST", "/v1/batches", {"Content-Type": "application/gzip"}, data)
        except OSError as error:
            return Later(f"{self._token_file}: {error.strerror}")
        except HTTPError as error:
            return Later(f"{self._url}: {type(error).__name__}: {error}"[:500])
        if answer.status == 202:
            return Delivered()
        detail = _detail(answer)
        if answer.status in _REFUSED and detail is not None:
            return Rejected(answer.status, detail)
        return Later(f"{self._url} answered {answer.status}: {detail or answer.reason}", retry_after(answer))

    def _compare_clocks(self, date: str | None) -> None:
        if date is None:
            return
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        # The header has whole seconds: half of one is the error to expect.
        with self._lock:
            self._skew_us = int((time.time() - theirs - 0.5) * 1_000_000)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _detail(answer: urllib3.BaseHTTPResponse) -> str | None:
    """The detail of problem details; None for an answer that is not ours, such as that of a proxy or an authorizer."""
    if answer.headers.get("Content-Type", "").split(";")[0] != "application/problem+json":
        return None
    try:
        return str(json.loads(answer.data)["detail"])
    except (ValueError, KeyError, TypeError):
        return None


def retry_after(answer: urllib3.BaseHTTPResponse) -> float | None:
    """The seconds that the server asks to be left alone for, at most an hour."""
    value = answer.headers.get("Retry-After", "")
    return min(float(value), 3600.0) if value.isascii() and value.isdigit() else None
