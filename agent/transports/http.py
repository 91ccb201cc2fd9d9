"""Speaks to the server: TLS 1.3 or newer, with the agent's access token."""

from __future__ import annotations

import errno
import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from agent.settings import ServerSettings, SettingsError
from agent.transports.outcome import Delivered, Later, Outcome, Rejected
from contracts.version import __version__

#: The b64token of RFC 6750.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")

_TIMEOUT = urllib3.Timeout(connect=5, read=30)

#: The server looked at the batch and refuses this very content.
_REFUSED = {400, 403, 413, 415, 422}


class ServerClient:
    """The server's HTTP API, as an agent uses it. Threads may share it."""

    def __init__(self, settings: ServerSettings) -> None:
        """Raises SettingsError where the certificate authority's file is of no use."""
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
            OSError: the token's file cannot be read, or has no token in it.
            urllib3.exceptions.HTTPError: there was no answer.
        """
        token = self._token()
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
            return Later(f"{self._token_file}: {error.strerror}", answered=False)
        except HTTPError as error:
            return Later(f"{self._url}: {type(error).__name__}: {error}"[:500], answered=False)
        if answer.status == 202:
            return Delivered()
        detail = _detail(answer)
        if answer.status in _REFUSED and detail is not None:
            return Rejected(answer.status, detail)
        return Later(f"{self._url} answered {answer.status}: {detail or answer.reason}", retry_after(answer))

    def _token(self) -> str:
        # Read anew each time: whoever renews the token only has to replace the file.
        token = self._token_file.read_bytes().strip()
        # What http.client says of a header it refuses has the header in it: it must not come so far.
        if not _TOKEN.fullmatch(token):
            raise OSError(errno.EINVAL, "an access token is expected, and nothing else")
        return token.decode("ascii")

    def _compare_clocks(self, date: str | None) -> None:
        if date is None:
            return
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        # The header has whole seconds: half of one is the error to expect.
        with self._lock:
            self._skew_us = int((time.time() - theirs - 0.5) * 1_000_000)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError, too: not certificates
        raise SettingsError(f"server.ca_file: {ca_file}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _detail(answer: urllib3.BaseHTTPResponse) -> str | None:
    """The detail of problem details; None for an answer that is not ours, such as that of a proxy or an authorizer."""
    if answer.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/problem+json":
        return None
    try:
        detail = str(json.loads(answer.data)["detail"])
    except (ValueError, KeyError, TypeError):
        return None
    # It goes into a gap, whose text has neither.
    return detail.encode(errors="replace").decode().replace("\x00", "")


def retry_after(answer: urllib3.BaseHTTPResponse) -> float | None:
    """The seconds that the server asks to be left alone for, at most an hour; it may say so by a date (RFC 9110)."""
    value = answer.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return min(float(value), 3600.0)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(until - time.time(), 0.0), 3600.0)
