"""What the ways out have in common: TLS 1.3 or newer, deadlines, and what an answer's headers tell."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import urllib3

from agent.identity.files import Files
from agent.settings import SettingsError
from contracts.version import __version__

USER_AGENT = f"pganalytics-agent/{__version__}"

_TIMEOUT = urllib3.Timeout(connect=5, read=30)


def pool(ca_file: Path | None, key: str, identity: Files | None = None) -> urllib3.PoolManager:
    """Connections that trust these authorities, the system's if there is no file, and show the agent's certificate.

    Raises:
        SettingsError: the file is of no use; the message names the key of agent.toml.
        IdentityError: the certificate is of no use.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError, too: not certificates
        raise SettingsError(f"{key}: {ca_file}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if identity is not None:
        identity.show_in(context)
    return urllib3.PoolManager(maxsize=2, timeout=_TIMEOUT, retries=False, ssl_context=context)


class Skew:
    """How far this host's clock is ahead of another's, by the Date of its last answer. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._us: int | None = None

    @property
    def us(self) -> int | None:
        """In microseconds; None before the first answer."""
        with self._lock:
            return self._us

    def compare(self, answer: urllib3.BaseHTTPResponse) -> None:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        except (ValueError, OverflowError):
            return
        # The header has whole seconds: half of one is the error to expect.
        with self._lock:
            self._us = int((time.time() - theirs - 0.5) * 1_000_000)


class Line:
    """The connections to one server, which no redirect leads away from. Threads may share it."""

    def __init__(self, url: str, ca_file: Path | None, identity: Files | None = None) -> None:
        """`identity` is what a server gets to see that asks for a certificate. Raises what `pool` raises."""
        self.url = url.rstrip("/")
        self._ca_file = ca_file
        self._identity = identity
        self._skew = Skew()
        self.reconnect()

    @property
    def skew_us(self) -> int | None:
        """How far this host's clock is ahead of the server's, by its last answer; None before the first."""
        return self._skew.us

    def reconnect(self) -> None:
        """From here on connections show the certificate that lies on the disk now. Raises what `pool` raises."""
        # Requests that are under way keep their own.
        self._pool = pool(self._ca_file, "server.ca_file", self._identity)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request, with these headers and no token of its own.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
        """
        answer = self._pool.request(
            method, self.url + path, headers={"User-Agent": USER_AGENT} | dict(headers), body=body, redirect=False
        )
        self._skew.compare(answer)
        return answer


def problem(answer: urllib3.BaseHTTPResponse) -> str | None:
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
