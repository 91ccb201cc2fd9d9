"""Connections as they are accepted: so many in all and from one address, TLS's handshakes included."""

from __future__ import annotations

import logging
import resource
import socket
import time
from typing import Any

from functions.addresses import network
from infra.standalone.limits import BusyError, Places

#: Files that the server has open beside connections of HTTP: the store's, the queue, the bucket's.
_OTHER_FILES = 256

#: What is refused is told so often, and not each time.
_TELL_SECONDS = 60.0

logger = logging.getLogger(__name__)


def fitting(connections: int) -> int:
    """So many of these connections as the system lets this process have; its soft limit of files is raised for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if wanted > soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - _OTHER_FILES))


class Listener(socket.socket):
    """A listening socket that closes at once what is too many, before anything is read or encrypted."""

    places: Places
    _refused = 0
    _told_at = float("-inf")

    @classmethod
    def of(cls, listening: socket.socket, places: Places) -> Listener:
        """The same socket, taken over."""
        made = cls(listening.family, listening.type, listening.proto, listening.detach())
        made.places = places
        return made

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        caller = network(str(address[0]))
        try:
            self.places.enter(caller)
        except BusyError as busy:
            accepted.close()
            self._tell(busy, caller)
            # As if the other end had gone away: asyncio takes the next then.
            raise ConnectionAbortedError from busy
        return _Connection.of(accepted, self.places, caller), address

    def _tell(self, busy: BusyError, caller: str) -> None:
        self._refused += 1
        now = time.monotonic()
        if now - self._told_at >= _TELL_SECONDS:
            extra = {"refused": self._refused, "last_from": caller, "reason": str(busy)}
            logger.warning("connections were refused", extra=extra)
            self._refused, self._told_at = 0, now


class _Connection(socket.socket):
    """Gives its place back when it is closed."""

    places: Places | None = None
    caller = ""

    @classmethod
    def of(cls, accepted: socket.socket, places: Places, caller: str) -> _Connection:
        made = cls(accepted.family, accepted.type, accepted.proto, accepted.detach())
        made.places, made.caller = places, caller
        return made

    def close(self) -> None:
        super().close()
        if self.places is not None:
            places, self.places = self.places, None
            places.leave(self.caller)
