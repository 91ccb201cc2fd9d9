"""Speaks to the server: TLS 1.3 or newer, with the agent's access token."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Collection, Mapping

import urllib3
from urllib3.exceptions import HTTPError

from agent.settings import ServerSettings
from agent.transports.connection import USER_AGENT, Skew, pool, retry_after
from agent.transports.outcome import Delivered, Later, Outcome, Rejected, Upload

#: The b64token of RFC 6750.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")

#: The server looked at the batch and refuses this very content.
_REFUSED = {400, 403, 413, 415, 422}


class ServerClient:
    """The server's HTTP API, as an agent uses it. Threads may share it."""

    def __init__(self, settings: ServerSettings) -> None:
        """Raises SettingsError where the certificate authority's file is of no use."""
        self._url = settings.url.rstrip("/")
        self._token_file = settings.token_file
        self._skew = Skew()
        self._pool = pool(settings.ca_file, "server.ca_file")

    @property
    def skew_us(self) -> int | None:
        """How far this host's clock is ahead of the server's, by its last answer; None before the first."""
        return self._skew.us

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
            headers={"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT} | dict(headers or {}),
            body=body,
            redirect=False,  # the token is for this server and no other
        )
        self._skew.compare(answer)
        return answer

    def post(self, path: str, media_type: str, body: bytes) -> urllib3.BaseHTTPResponse | Later:
        """The answer to what is posted, or why there is none."""
        try:
            return self.request("POST", path, {"Content-Type": media_type}, body)
        except OSError as error:
            return Later(f"{self._token_file}: {error.strerror}", answered=False)
        except HTTPError as error:
            return Later(f"{self._url}: {type(error).__name__}: {error}"[:500], answered=False)

    def send(self, upload: Upload) -> Outcome:
        """Upload one batch."""
        answer = self.post("/v1/batches", "application/gzip", upload.data)
        if isinstance(answer, Later):
            return answer
        return Delivered() if answer.status == 202 else self.not_taken(answer, _REFUSED)

    def not_taken(self, answer: urllib3.BaseHTTPResponse, refused: Collection[int]) -> Rejected | Later:
        """What an answer other than success means; with a status in `refused` the server refuses this very content."""
        detail = _detail(answer)
        if answer.status in refused and detail is not None:
            return Rejected(answer.status, detail)
        return Later(f"{self._url} answered {answer.status}: {detail or answer.reason}", retry_after(answer))

    def _token(self) -> str:
        # Read anew each time: whoever renews the token only has to replace the file.
        token = self._token_file.read_bytes().strip()
        # What http.client says of a header it refuses has the header in it: it must not come so far.
        if not _TOKEN.fullmatch(token):
            raise OSError(errno.EINVAL, "an access token is expected, and nothing else")
        return token.decode("ascii")


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
