"""Access tokens: where the one for the next request comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

#: The b64token of RFC 6750. What http.client says of a header it refuses has the header in it: it must not come so far.
B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenError(Exception):
    """There is no access token; the message says why and repeats none. `answered`: by the server, which said no."""

    def __init__(self, message: str, after_seconds: float | None = None, *, answered: bool = False) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds
        self.answered = answered


class AccessToken(Protocol):
    """The access token of an agent. Threads may share it."""

    def current(self) -> str:
        """The token for the next request.

        Raises:
            TokenError: there is none.
            urllib3.exceptions.HTTPError: who gives it did not answer.
        """

    def forget(self, token: str | None = None) -> bool:
        """Use this one no more, or whichever it is; whether another one can be had right now."""


class TokenFile:
    """The token in a file, read anew each time: whoever renews it only has to replace the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def current(self) -> str:
        try:
            token = self._path.read_bytes().strip().decode("ascii", "replace")
        except OSError as error:
            raise TokenError(f"{self._path}: {error.strerror}") from error
        if not B64TOKEN.fullmatch(token):
            raise TokenError(f"{self._path}: an access token is expected, and nothing else")
        return token

    def forget(self, token: str | None = None) -> bool:  # noqa: ARG002 - the name that callers know
        return False
