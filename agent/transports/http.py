"""Speaks to the server: TLS 1.3 or newer, with the agent's access token."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import urllib3
from urllib3.exceptions import HTTPError

from agent.identity.files import Files, IdentityError
from agent.identity.whoami import ENROL
from agent.settings import ServerSettings
from agent.transports.connection import Line, problem, retry_after
from agent.transports.outcome import Delivered, Later, Outcome, Rejected, Upload
from agent.transports.tokens import AccessToken, TokenError, TokenFile

#: The server looked at the batch and refuses this very content.
_REFUSED = {400, 403, 413, 415, 422}


class ServerClient:
    """The server's HTTP API, as an agent uses it. Threads may share it."""

    def __init__(self, settings: ServerSettings, identity: Files | None = None) -> None:
        """`identity` is what an enrolled agent has.

        Raises:
            SettingsError: the certificate authority's file is of no use.
            IdentityError: the identity is of no use, or there is neither one nor a token's file.
        """
        self._line = Line(settings.url, settings.ca_file, identity)
        self._token = _access(settings, identity, self._line)

    @property
    def skew_us(self) -> int | None:
        """How far this host's clock is ahead of the server's, by its last answer; None before the first."""
        return self._line.skew_us

    def reconnect(self) -> None:
        """Show the certificate that lies on the disk now, with a token that goes with it. Raises IdentityError."""
        self._line.reconnect()
        self._token.forget()

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request with the token; where it is refused and another one can be had, once more with that.

        Raises:
            TokenError: there is no token.
            urllib3.exceptions.HTTPError: there was no answer.
        """
        token = self._token.current()
        answer = self._ask(method, path, headers, body, token)
        # Without problem details: it was the authorizer, and not the request that was looked at.
        if answer.status in {401, 403} and problem(answer) is None and self._token.forget(token):
            answer = self._ask(method, path, headers, body, self._token.current())
        return answer

    def post(self, path: str, media_type: str, body: bytes) -> urllib3.BaseHTTPResponse | Later:
        """The answer to what is posted, or why there is none."""
        try:
            return self.request("POST", path, {"Content-Type": media_type}, body)
        except TokenError as error:
            return Later(str(error), error.after_seconds, answered=error.answered)
        except HTTPError as error:
            return Later(f"{self._line.url}: {type(error).__name__}: {error}"[:500], answered=False)

    def send(self, upload: Upload) -> Outcome:
        """Upload one batch."""
        answer = self.post("/v1/batches", "application/gzip", upload.data)
        if isinstance(answer, Later):
            return answer
        return Delivered() if answer.status == 202 else self.not_taken(answer, _REFUSED)

    def not_taken(self, answer: urllib3.BaseHTTPResponse, refused: Collection[int]) -> Rejected | Later:
        """What an answer other than success means; with a status in `refused` the server refuses this very content."""
        detail = problem(answer)
        if answer.status in refused and detail is not None:
            return Rejected(answer.status, detail)
        return Later(f"{self._line.url} answered {answer.status}: {detail or answer.reason}", retry_after(answer))

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None, body: bytes | None, token: str
    ) -> urllib3.BaseHTTPResponse:
        return self._line.ask(method, path, {"Authorization": f"Bearer {token}"} | dict(headers or {}), body)


def _access(settings: ServerSettings, identity: Files | None, line: Line) -> AccessToken:
    if settings.token_file is not None:
        return TokenFile(settings.token_file)
    if identity is None:
        raise IdentityError("server.token_file: there is none, and this agent is not enrolled", ENROL)
    # cryptography and PyJWT: the agents that need none of it do without.
    from agent.identity.tokens import AssertedToken

    return AssertedToken(identity, line)
