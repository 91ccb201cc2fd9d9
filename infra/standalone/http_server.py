"""uvicorn as this server runs it: its own protocol, its limits, and a word when connections are accepted."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from infra.standalone.connections import Listener, fitting
from infra.standalone.limits import Limits, Places
from infra.standalone.protocol import MAX_HEAD_BYTES, Protocol

#: An agent between two batches does not read that its connection is closed; the server does not wait for it to end.
_CLOSE_SECONDS = 1.0


class HttpServer(uvicorn.Server):
    """Serves an application on one socket, until `should_exit`."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        *,
        tls: ssl.SSLContext | None = None,
        drain_seconds: float = 30,
        listening: Callable[[socket.socket], None] = lambda _: None,
    ) -> None:
        super().__init__(_config(app, limits, drain_seconds))
        self._limits = limits
        self._tls = tls
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        (plain,) = sockets
        places = Places(fitting(self._limits.connections), self._limits.address_connections)
        listener = Listener.of(plain, places)
        sockets[:] = [listener]  # uvicorn closes these in the end

        def protocol() -> asyncio.Protocol:
            return Protocol(self.config, self.server_state, {}, self._limits)

        server = await asyncio.get_running_loop().create_server(
            protocol,
            sock=listener,
            ssl=self._tls,
            backlog=self.config.backlog,
            ssl_handshake_timeout=self._limits.head_seconds if self._tls else None,
            ssl_shutdown_timeout=_CLOSE_SECONDS if self._tls else None,
        )
        self.servers = [server]
        self.started = True
        self._listening(listener)


def _config(app: ASGIApp, limits: Limits, drain_seconds: float) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anybody may write X-Forwarded-For
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # a number of seconds for the event loop
        timeout_graceful_shutdown=round(drain_seconds),
    )
    config.load()
    return config
