"""Renews the agent's certificate while it runs, when a third of its life is left."""

from __future__ import annotations

import logging
import random
import threading
from datetime import UTC, datetime, timedelta

from urllib3.exceptions import HTTPError

from agent.identity.certificates import keep, own_key, request
from agent.identity.files import Files, Identity, IdentityError
from agent.identity.signing import UnusableError, validity
from agent.transports.connection import problem
from agent.transports.http import ServerClient
from agent.transports.tokens import TokenError

log = logging.getLogger(__name__)

_LEFT = 1 / 3

#: Hosts that were enrolled together do not come together: this share of a life earlier at most.
_SPREAD = 1 / 30

#: Between two tries, and between two looks at the clock, which may have been set or have slept.
_PAUSE_SECONDS = 3600.0


def overdue(files: Files) -> bool:
    """Whether the certificate should have been renewed for some time: half of what is left when it is due has passed.

    Raises:
        IdentityError: the certificate is of no use.
    """
    begins, ends = _validity(files)
    return datetime.now(UTC) > ends - (ends - begins) * _LEFT / 2


class Renewer(threading.Thread):
    """Keeps the certificate good; what fails is said, and tried again within the hour."""

    def __init__(self, files: Files, server: ServerClient) -> None:
        super().__init__(name="renewer", daemon=True)
        self._files = files
        self._server = server
        self._early = random.uniform(0, _SPREAD)  # noqa: S311 - no secret hangs on it
        self._stopping = threading.Event()

    def run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = _PAUSE_SECONDS
            try:
                pause = self._look()
            except IdentityError as error:
                log.error("%s", error)
            except Exception:  # a certificate that ends is the end of the agent: whatever it is, it goes on
                log.exception("the certificate could not be looked after")

    def stop(self) -> None:
        """End after the request in hand; nobody waits for it."""
        self._stopping.set()

    def _look(self) -> float:
        """Renew if it is time, and answer how many seconds to wait."""
        begins, ends = _validity(self._files)
        # Certificates of minutes are asked for again in seconds.
        life = ends - begins
        again = min(_PAUSE_SECONDS, life.total_seconds() * _SPREAD) * random.uniform(0.5, 1)  # noqa: S311
        due_at = ends - life * (_LEFT + self._early)
        if (left := (due_at - self._now()).total_seconds()) > 0:
            return min(left, _PAUSE_SECONDS)
        try:
            renewed = self.renew()
        except (IdentityError, TokenError, HTTPError) as error:
            why = type(error).__name__ if isinstance(error, HTTPError) else error
            if self._now() < ends:
                log.warning("the certificate is good until %s and is not renewed: %s", ends, why)
            else:
                log.error("the certificate has expired, at %s: %s; %s", ends, why, self._files.mend)
        else:
            log.info("the certificate is renewed, and good until %s", renewed.not_after)
        return again

    def renew(self) -> Identity:
        """Have a new certificate for the same key, and show it from here on.

        Raises:
            IdentityError, TokenError: the server refuses, or something is wrong with the disk.
            urllib3.exceptions.HTTPError: the server does not answer.
        """
        identity = self._files.identity()
        if identity is None:
            raise IdentityError(f"{self._files.folder}: the enrolment is gone", self._files.mend)
        key = own_key(self._files)
        answer = self._server.request(
            "POST", "/v1/certificate", {"Content-Type": "application/json"}, request(key, identity.agent_id)
        )
        if answer.status not in {200, 201}:
            raise IdentityError(
                f"{identity.server} gives no certificate ({answer.status}): {problem(answer) or answer.reason}",
                "see the server's log",
            )
        renewed = keep(answer, self._files, key, identity.agent_id, identity.server)
        self._server.reconnect()
        return renewed

    def _now(self) -> datetime:
        # The server's clock, which the certificate was made by.
        return datetime.now(UTC) - timedelta(microseconds=self._server.skew_us or 0)


def _validity(files: Files) -> tuple[datetime, datetime]:
    try:
        return validity(files.certificate())
    except UnusableError as error:
        raise IdentityError(f"{files.certificate_file}: {error}", files.mend) from None
