"""Access tokens of an enrolled agent: given for an assertion that its key signs, renewed ahead of their end."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

import urllib3
from pydantic import ValidationError
from urllib3.exceptions import HTTPError

from agent.identity.certificates import own_key
from agent.identity.files import Files, IdentityError
from agent.transports.connection import Line, problem, retry_after
from agent.transports.tokens import B64TOKEN, TokenError
from contracts.identity import TokenAsked, TokenGranted

log = logging.getLogger(__name__)

#: The share of a token's life after which the next one is asked for.
_USED = 2 / 3

#: While the next one cannot be had and the last one is still good, it is not asked for with every request.
_AGAIN_SECONDS = 30.0

#: An assertion this far off the server's clock may have been refused for it.
_SKEW_US = 5_000_000


@dataclass(frozen=True, slots=True)
class _Held:
    """A token; the instants are of the clock that no setting of the time moves."""

    token: str = field(repr=False)
    due_at: float
    ends_at: float


class AssertedToken:
    """Held in memory only. Threads may share it: one asks for the next token, the others wait for that one."""

    def __init__(self, files: Files, line: Line) -> None:
        """Raises IdentityError where key or identity are of no use."""
        self._files = files
        self._line = line
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._assertion(0)

    def current(self) -> str:
        with self._lock:
            now, held = time.monotonic(), self._held
            if held is not None and now < held.due_at:
                return held.token
            try:
                self._held = held = self._granted(now)
            except (TokenError, HTTPError) as error:
                if held is None or now >= held.ends_at:
                    raise
                why = error if isinstance(error, TokenError) else type(error).__name__
                log.warning("no new access token, the last one is good for %.0f s: %s", held.ends_at - now, why)
                self._held = _Held(held.token, min(now + _AGAIN_SECONDS, held.ends_at), held.ends_at)
            return held.token

    def forget(self, token: str | None = None) -> bool:
        with self._lock:
            # Another thread may have the next one already.
            if self._held is not None and token in {None, self._held.token}:
                self._held = None
        return True

    def _granted(self, now: float) -> _Held:
        answer = self._ask()
        if answer.status != 200:
            raise TokenError(
                f"{self._line.url} gives no access token ({answer.status}): {problem(answer) or answer.reason}",
                retry_after(answer),
                answered=True,
            )
        try:
            granted = TokenGranted.model_validate_json(answer.data)
        except ValidationError as error:
            raise TokenError(
                f"{self._line.url}: the answer has no access token in it ({error.error_count()} errors)", answered=True
            ) from None
        if not B64TOKEN.fullmatch(granted.access_token):
            raise TokenError(f"{self._line.url}: the answer's access token is none", answered=True)
        return _Held(granted.access_token, now + granted.expires_in * _USED, now + granted.expires_in)

    def _ask(self) -> urllib3.BaseHTTPResponse:
        skew_us = self._line.skew_us or 0
        answer = self._exchange(skew_us)
        if answer.status == 401 and abs((self._line.skew_us or 0) - skew_us) > _SKEW_US:
            # Its Date has just told how far the clocks are apart.
            answer = self._exchange(self._line.skew_us or 0)
        return answer

    def _exchange(self, skew_us: int) -> urllib3.BaseHTTPResponse:
        try:
            assertion = self._assertion(skew_us)
        except IdentityError as error:
            raise TokenError(str(error)) from error
        asked = TokenAsked(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion)
        return self._line.ask(
            "POST", "/v1/token", {"Content-Type": "application/json"}, asked.model_dump_json().encode()
        )

    def _assertion(self, skew_us: int) -> str:
        # Read anew each time: the key is in memory for a moment only, and a new enrolment counts at once.
        identity = self._files.identity()
        if identity is None:
            raise IdentityError(f"{self._files.folder}: the enrolment is gone", self._files.mend)
        return own_key(self._files).assertion(identity.agent_id, identity.audience, time.time() - skew_us / 1_000_000)
