"""What the ways out have in common: TLS 1.3 or newer, deadlines, and what an answer's headers tell."""

from __future__ import annotations

import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import urllib3

from agent.settings import SettingsError
from contracts.version import __version__

USER_AGENT = f"pganalytics-agent/{__version__}"

_TIMEOUT = urllib3.Timeout(connect=5, read=30)


def pool(ca_file: Path | None, key: str) -> urllib3.PoolManager:
    """Connections that trust these authorities, the system's if there is no file.

    Raises:
        SettingsError: the file is of no use; the message names the key of agent.toml.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError, too: not certificates
        raise SettingsError(f"{key}: {ca_file}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
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
