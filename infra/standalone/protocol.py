"""HTTP/1.1 on one connection: uvicorn's protocol, with time limits, and with the client's certificate.

The certificate is read once a connection; requests have it in the state of their scope, as `client_cert`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from functions.http import PROBLEM, SAFE_HEADERS, STRICT_TRANSPORT, problem_text
from infra.standalone.certificate import client_certificate
from infra.standalone.limits import Limits

#: A request's line and headers together; API Gateway takes 10 kB.
MAX_HEAD_BYTES = 16 * 1024

CLIENT_CERT = "client_cert"

_DETAILS = {
    HTTPStatus.BAD_REQUEST: "not HTTP/1.1",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the request's line and headers are more than {MAX_HEAD_BYTES} bytes",
}

logger = logging.getLogger(__name__)


class Protocol(H11Protocol):
    """One connection. Whoever owes it a head, the rest of a body or the reading of an answer for too long is cut off.

    uvicorn's own time limit is for connections that are idle; a byte now and then would keep any for ever.
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], limits: Limits) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = limits
        self._owed = _Deadline(self.loop, self._cut_off)
        self._unread = _Deadline(self.loop, self._cut_off)
        # Made when the connection is accepted: TLS's handshake is within the time of the first head.
        self._owed.start(limits.head_seconds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            found = client_certificate(transport.get_extra_info("ssl_object"))
        except (ssl.SSLError, ValueError) as error:
            logger.warning("a client certificate that cannot be read", extra={"error": str(error)})
            transport.abort()
            return
        self.app_state = {**self.app_state, CLIENT_CERT: found}

    def connection_lost(self, exc: Exception | None) -> None:
        self._owed.stop()
        self._unread.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answering():
            self._owed.stop()
        elif not self._owed.running:
            self._owed.start(self._limits.head_seconds)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._answering():  # the next request had come with the one before
            return
        if self.transport.is_closing():
            self._owed.start(self._limits.answer_seconds)
        elif self.conn.their_state is h11.SEND_BODY:
            # Answered before the body was there. It is read and thrown away, for who sends cannot hear the answer.
            self._owed.start(self._limits.body_seconds)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # to close would be to wait until it is read
        super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start(self._limits.answer_seconds)

    def resume_writing(self) -> None:
        self._unread.stop()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too long a head. uvicorn calls this while it handles h11's error."""
        error = sys.exception()
        status = HTTPStatus(error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400)
        if self._answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.write(self._refusal(status, _DETAILS.get(status, msg)))
        self.transport.close()
        self._owed.start(self._limits.answer_seconds)

    def _refusal(self, status: HTTPStatus, detail: str) -> bytes:
        content = problem_text(status, detail).encode()
        own = {"Content-Type": PROBLEM, "Content-Length": str(len(content)), "Connection": "close"}
        headers = {**SAFE_HEADERS, **(STRICT_TRANSPORT if self.scheme == "https" else {}), **own}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        response = h11.Response(
            status_code=status, headers=[*self.server_state.default_headers, *encoded], reason=status.phrase
        )
        parts = [self.conn.send(each) for each in (response, h11.Data(data=content), h11.EndOfMessage())]
        return b"".join(part for part in parts if part)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def _should_upgrade(self) -> bool:
        return False  # to nothing; uvicorn's would write two lines to the log each time

    def _cut_off(self) -> None:
        # Before the end of TLS's handshake there is no transport yet; the handshake has the same limit.
        if self.transport is not None:
            self.transport.abort()


class _Deadline:
    """Acts once, so many seconds after it was started last, if it is not stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        self._loop = loop
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._timer is not None

    def start(self, seconds: float) -> None:
        self.stop()
        self._timer = self._loop.call_later(seconds, self._act)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
