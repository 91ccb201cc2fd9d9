"""The HTTP server in this process, on a real socket, with functions that say what they were asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from infra.standalone.app import Functions, Gateway
from infra.standalone.events import Event
from infra.standalone.http_server import HttpServer
from infra.standalone.limits import DEFAULTS, Limits
from infra.standalone.pools import Pools
from infra.standalone.settings import listen

SECONDS = 20.0


@dataclass
class Listening:
    """A server that answers every route with `body`."""

    address: tuple[str, int]
    events: list[Event] = field(default_factory=list)
    asked: list[Event] = field(default_factory=list)
    body: str = "{}"

    def authorizer(self, event: Event, _context: object) -> dict[str, Any]:
        self.asked.append(event)
        return {"isAuthorized": True, "context": {"aud": "pganalytics-agent", "sub": "db-1"}}

    def handler(self, event: Event, _context: object) -> dict[str, Any]:
        self.events.append(event)
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": self.body}

    def connect(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        plain = socket.create_connection(self.address, SECONDS)
        if tls is None:
            return plain
        try:
            return tls.wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise


@contextmanager
def listening(
    limits: Limits = DEFAULTS, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Listening]:
    pools, accepting, bound = Pools(), threading.Event(), listen(host, 0)
    made = Listening(bound.getsockname()[:2])
    handlers = dict.fromkeys(("ingest", "config", "query", "identity"), made.handler)
    gateway = Gateway(Functions(made.authorizer, handlers, lambda _key: None), pools, limits)
    server = HttpServer(gateway, limits, tls=tls, drain_seconds=1, listening=lambda _: accepting.set())
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        assert accepting.wait(SECONDS)
        yield made
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        pools.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        found = json.loads(self.body)
        assert found["status"] == self.status
        return str(found["detail"])


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def read_answer(connection: socket.socket) -> Answer:
    """One answer, which says its length."""
    with connection.makefile("rb") as stream:
        first = stream.readline()
        if not first:
            raise ConnectionError("closed without an answer")
        status = int(first.split()[1])
        headers = {}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, stream.read(int(headers.get("content-length", "0"))))


def closed(connection: socket.socket) -> bool:
    """Whether the other end closes the connection, waiting for it; what still comes is read."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True
