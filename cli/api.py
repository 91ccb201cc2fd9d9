"""The HTTP API as a command calls it: TLS 1.3 or the machine itself, a token, deadlines, pages."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import urllib3

from contracts.version import __version__

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}

_READING = urllib3.Retry(2, redirect=0)
# What may have been done is not asked for again, and nobody sits through the wait after failed logins in silence.
_CHANGING = urllib3.Retry(2, read=0, redirect=0, status=0, respect_retry_after_header=False)


class ApiError(Exception):
    """The server did not answer as hoped; the message has what it said. Without a status it said nothing."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ApiSettingsError(Exception):
    """How the server is called is wrong; the message names what to mend."""


class Api:
    """One server, called by one operator, or by somebody who has no token yet."""

    def __init__(
        self, server: str, token: str | None, ca: Path | None, renew: Callable[[str], str] | None = None
    ) -> None:
        """Check how the server is to be called; nothing is sent yet.

        `renew` gives the token after this one; it is asked once, where the gateway refuses this one.

        Raises:
            ApiSettingsError: not a URL, no TLS where the token would cross a network, or a bad file of CAs.
        """
        parts = urlsplit(server)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ApiSettingsError(f"--server {server}: a URL is expected, such as https://pganalytics.example.org")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ApiSettingsError(f"--server {server}: the token would cross the network in clear; use https")
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise ApiSettingsError("the token is not one: it has characters that no token has")
        self._server = server.rstrip("/")
        self._token = token
        self._renew = renew
        self._pool = urllib3.PoolManager(ssl_context=_tls(ca), timeout=urllib3.Timeout(connect=5, read=60))

    def items(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page.

        Raises:
            ApiError: the server cannot be reached, or refused.
        """
        cursor: str | None = None
        while True:
            page = self.item(path, {"limit": "1000", **(query or {}), **({"cursor": cursor} if cursor else {})})
            if not isinstance(page.get("items"), list):
                raise self._strange(path)
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def item(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the server answers at this path.

        Raises:
            ApiError: the server cannot be reached, or refused.
        """
        return self._ask("GET", path, None, query)

    def change(
        self,
        method: Literal["POST", "PUT", "PATCH", "DELETE"],
        path: str,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """What the server answers to a change; nothing where it has nothing to say (204).

        Raises:
            ApiError: the server cannot be reached, or refused. A POST that got no answer may have been done.
        """
        return self._ask(method, path, body, query)

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None, query: Mapping[str, str] | None
    ) -> dict[str, Any]:
        url = self._server + path + (f"?{urlencode(query)}" if query else "")
        answer = self._request(method, url, body)
        if self._renew is not None and self._token is not None and _token_refused(answer):
            self._token = self._renew(self._token)
            answer = self._request(method, url, body)
        if answer.status == HTTPStatus.NO_CONTENT:
            return {}
        try:
            found = json.loads(answer.data)
        except ValueError:
            found = None
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            # `message` is what a gateway says before any function of ours is asked.
            detail = (found.get("detail") or found.get("message")) if isinstance(found, dict) else None
            text = f"{self._server} answered {answer.status} {detail or answer.reason or ''}".rstrip()
            raise ApiError(text, answer.status)
        if not isinstance(found, dict):
            raise self._strange(path)
        return found

    def _request(self, method: str, url: str, body: Mapping[str, object] | None) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": f"pganalytics/{__version__}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return self._pool.request(
                method, url, json=body, headers=headers, retries=_READING if method == "GET" else _CHANGING
            )
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise ApiError(f"{self._server} cannot be reached: {_without_object(cause)}") from error

    def _strange(self, path: str) -> ApiError:
        return ApiError(f"{self._server}{path} is not what pgAnalytics answers; is that its URL?")


def _token_refused(answer: urllib3.BaseHTTPResponse) -> bool:
    # Problem details are a function's refusal of what was asked; without them, the gateway refused the token.
    refused = answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return refused and not answer.headers.get("Content-Type", "").startswith("application/problem+json")


def _tls(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError as error:
            raise ApiSettingsError(f"--ca {ca}: no certificates in PEM in it") from error
        except OSError as error:
            raise ApiSettingsError(f"--ca {ca}: {error.strerror}") from error
    return context


def _without_object(error: object) -> str:
    # urllib3 begins its messages with the connection's address in memory.
    text = str(error)
    return text.partition(": ")[2] if text.startswith("<") or "Connection(" in text else text
