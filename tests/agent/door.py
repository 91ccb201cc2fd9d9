"""A real HTTP server that stands for the server's door: it answers as told, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """One request that arrived; `certificate` is the client's, DER, if it showed one."""

    method: str
    path: str
    headers: Message
    body: bytes
    certificate: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """What the door says. A Date header here takes the place of the server's own."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Door:
    """The door: `answer` may be replaced at any time."""

    url: str
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)


def problem(status: int, detail: str) -> Answer:
    """An error as the functions answer it (RFC 9457)."""
    body = json.dumps({"type": "about:blank", "status": status, "detail": detail}).encode()
    return Answer(status, {"Content-Type": "application/problem+json"}, body)


def configuration(version: int, document: Mapping[str, object], etag: str) -> Answer:
    """What `GET /v1/config` answers."""
    return Answer(200, {"ETag": etag}, json.dumps({"version": version, "document": document}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: object, client_address: object) -> None:
        # A client that refuses our certificate goes away in the middle.
        with contextlib.suppress(OSError, ssl.SSLError):
            super().finish_request(request, client_address)  # type: ignore[arg-type]

    def get_request(self) -> tuple[object, object]:  # type: ignore[override]
        connection, address = super().get_request()
        if self.context is not None:
            # The handshake happens in the handler's thread, with its first read.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address


@contextmanager
def door(
    answer: Callable[[Asked], Answer] = lambda _: Answer(202), context: ssl.SSLContext | None = None
) -> Iterator[Door]:
    """A door on a port of its own, over TLS where a context is given."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            shown = self.connection.getpeercert(binary_form=True) if context else None
            asked = Asked(self.command, self.path, self.headers, body, shown)
            opened.asked.append(asked)
            told = opened.answer(asked)
            self.send_response_only(told.status)
            for name, value in ({"Date": self.date_time_string()} | dict(told.headers)).items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.context = context
    opened = Door(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=lambda: server.serve_forever(0.02))
    thread.start()
    try:
        yield opened
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
