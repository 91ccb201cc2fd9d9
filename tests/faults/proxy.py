"""A stretch of network between agents and a server, which a test can break in the ways that networks break."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from enum import Enum, auto
from types import TracebackType
from typing import Self


class Fault(Enum):
    """What happens to whoever connects, or is connected."""

    NONE = auto()
    REFUSED = auto()  # a connection is reset as soon as it is made
    CUT = auto()  # reset with the request half on its way
    SLOW = auto()  # some bytes at a time
    HALF_OPEN = auto()  # taken, and nothing ever comes back
    ANSWER_LOST = auto()  # the server has answered, and the connection is reset before the agent reads a byte
    ANSWER_TRUNCATED = auto()  # the same after a few bytes


_PIECE = 65536
_SLOW_BYTES, _SLOW_PAUSE_SECONDS = 200, 0.01
_TRUNCATED_BYTES = 20


class Proxy:
    """Listens on a port of its own. `met` counts the connections that met each fault."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._ending = threading.Event()
        self._fault = Fault.NONE
        self.met: Counter[Fault] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.become(Fault.NONE)

    def become(self, fault: Fault) -> None:
        """From now on the network is like this; connections of before are reset."""
        with self._lock:
            self._fault = fault
            connections, self._open = self._open, set()
        for connection in connections:
            _reset(connection)

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                agent, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                fault = self._fault
                self._open.add(agent)
            threading.Thread(target=self._serve, args=(agent, fault), daemon=True).start()

    def _serve(self, agent: socket.socket, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            if fault is Fault.REFUSED:
                self._meet(fault, agent)
                return
            if fault is Fault.HALF_OPEN:
                self._count(fault)
                while agent.recv(_PIECE):
                    pass
                return
            server = socket.create_connection(self._to)
            with self._lock:
                self._open.add(server)
            back = threading.Thread(target=self._answer, args=(server, agent, fault), daemon=True)
            back.start()
            self._ask(agent, server, fault)
            back.join()

    def _ask(self, agent: socket.socket, server: socket.socket, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            while piece := agent.recv(_PIECE):
                if fault is Fault.CUT:
                    server.sendall(piece[: len(piece) // 2])
                    self._meet(fault, agent, server)
                    return
                self._send(server, piece, fault)
        _end(server)

    def _answer(self, server: socket.socket, agent: socket.socket, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(_PIECE):
                if fault in {Fault.ANSWER_LOST, Fault.ANSWER_TRUNCATED}:
                    if fault is Fault.ANSWER_TRUNCATED:
                        agent.sendall(piece[:_TRUNCATED_BYTES])
                        _end(agent)  # what a reset would take away is read first
                    self._meet(fault, *(() if fault is Fault.ANSWER_TRUNCATED else (agent,)), server)
                    return
                self._send(agent, piece, fault)
        _end(agent)

    def _send(self, to: socket.socket, piece: bytes, fault: Fault) -> None:
        if fault is not Fault.SLOW:
            to.sendall(piece)
            return
        self._count(fault)
        for start in range(0, len(piece), _SLOW_BYTES):
            to.sendall(piece[start : start + _SLOW_BYTES])
            self._ending.wait(_SLOW_PAUSE_SECONDS)

    def _meet(self, fault: Fault, *connections: socket.socket) -> None:
        self._count(fault)
        for connection in connections:
            _reset(connection)

    def _count(self, fault: Fault) -> None:
        with self._lock:
            self.met[fault] += 1


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    # Zero seconds to linger: the other side sees a reset, as from a host that was restarted.
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
