"""Who saves says what they have seen (RFC 9110, section 13.1): nobody undoes what they never looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from http import HTTPStatus
from typing import ClassVar

from contracts.configuration import DocumentVersion
from functions.config.tags import is_any, strong


class RefusedError(Exception):
    """A scope stays as it is; the message says what to mend, `status` is how HTTP puts it."""

    status: ClassVar[HTTPStatus]


class NotSeenError(RefusedError):
    """Somebody saved since the caller looked."""

    status = HTTPStatus.PRECONDITION_FAILED


class UnconditionalError(RefusedError):
    """The caller does not say what they have seen."""

    status = HTTPStatus.PRECONDITION_REQUIRED


def etag(newest: DocumentVersion) -> str:
    """The entity tag of a scope."""
    return f'"{newest.version}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """The headers If-Match and If-None-Match, None where they were not sent."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, scope: str, newest: DocumentVersion | None) -> None:
        """Refuse who has not seen the newest version of the scope. A scope without any may be begun by everybody.

        Raises:
            NotSeenError: naming the newest version, its author and its time.
            UnconditionalError: the scope has a version, and neither header says anything of it.
        """
        if newest is None:
            if self.if_match is not None:
                raise NotSeenError(f"{scope} has no version yet; leave out If-Match, or send If-None-Match: *")
            return
        at = newest.created_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        there = f"{scope} has version {newest.version}, by {newest.author} at {at}"
        if self.if_match is not None:
            if not is_any(self.if_match) and etag(newest) not in strong(self.if_match):
                raise NotSeenError(f"{there}; look at it, and send If-Match: {etag(newest)} to go on from there")
        elif self.if_none_match is not None and is_any(self.if_none_match):
            raise NotSeenError(f"{there}; only a scope without any is made with If-None-Match: *")
        else:
            raise UnconditionalError(f"{there}; send If-Match: {etag(newest)} to say that you have seen it")
