"""On real sockets: nobody holds a connection for longer than they may, or more of them, or gets a page of a trace."""

from __future__ import annotations

import contextlib
import logging
import re
import resource
import socket
import ssl
import threading
import time

import pytest

from infra.standalone.connections import fitting
from infra.standalone.limits import Limits
from infra.standalone.protocol import MAX_HEAD_BYTES
from infra.standalone.settings import tls_context
from tests.agent.authority import Authority
from tests.infra.standalone.listening import Listening, closed, listening, read_answer, request

TOKEN = "Authorization: Bearer x"
GONE = "the connection was not closed"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /v1/health HT", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n"])
def test_who_sends_no_whole_head_is_closed(sent: bytes) -> None:
    with listening(Limits(head_seconds=0.3)) as server, server.connect() as connection:
        connection.sendall(sent)
        assert closed(connection), GONE


def test_a_byte_now_and_then_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Limits(head_seconds=0.5)) as server, server.connect() as connection:
        connection.sendall(request("GET", "/v1/health"))
        assert read_answer(connection).status == 200
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                for byte in request("GET", "/v1/health", *["X-Slow: yes"] * 200):
                    if stop.wait(0.05):
                        return
                    connection.send(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert closed(connection), GONE
        stop.set()
        dripping.join()
    assert len(server.events) == 1


def test_a_connection_that_is_idle_between_requests_is_kept(authority: Authority) -> None:
    """The time of a head begins with its first byte."""
    with listening(Limits(head_seconds=0.2, idle_seconds=30)) as server, server.connect() as connection:
        for _ in range(2):
            connection.sendall(request("GET", "/v1/health"))
            assert read_answer(connection).status == 200
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(20)


def test_who_ends_no_handshake_is_closed(authority: Authority) -> None:
    tls = tls_context(authority.server_chain, authority.server_chain)
    with listening(Limits(head_seconds=0.3), tls) as server, server.connect() as connection:
        assert closed(connection), GONE


def test_the_handshake_is_within_the_time_of_the_head(authority: Authority) -> None:
    tls = tls_context(authority.server_chain, authority.server_chain)
    trusts = ssl.create_default_context(cafile=authority.ca_file)
    with listening(Limits(head_seconds=0.5), tls) as server, server.connect(trusts) as connection:
        began = time.monotonic()
        with contextlib.suppress(ssl.SSLError):  # aborted, without TLS's farewell
            assert closed(connection), GONE
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(("path", "limits"), [
    ("/v1/batches", Limits(body_seconds=0.3)), ("/v1/token", Limits(head_seconds=0.3)),
])  # fmt: skip
def test_a_body_that_stops_is_given_up(path: str, limits: Limits) -> None:
    with listening(limits) as server, server.connect() as connection:
        connection.sendall(request("POST", path, TOKEN, "Content-Length: 100") + b"half")
        answer = read_answer(connection)
        assert answer.status == 408
        assert closed(connection), GONE
    assert not server.events


def test_what_was_refused_may_send_its_body_for_so_long_and_no_longer() -> None:
    with listening(Limits(body_seconds=0.3)) as server, server.connect() as connection:
        connection.sendall(request("POST", "/v1/batches", "Content-Length: 1000000") + b"x" * 1000)
        assert read_answer(connection).status == 401
        assert closed(connection), GONE


def test_who_was_refused_hears_why_though_the_body_is_still_on_its_way() -> None:
    with listening() as server, server.connect() as connection:
        body = b"x" * 2_000_000
        connection.sendall(request("POST", "/v1/batches", body=body))
        assert read_answer(connection).status == 401
        connection.sendall(request("GET", "/v1/health"))
        assert read_answer(connection).status == 200


@pytest.mark.parametrize("close", [True, False], ids=["close", "keep-alive"])
def test_who_does_not_read_an_answer_is_cut_off(close: bool) -> None:
    with listening(Limits(answer_seconds=0.3, idle_seconds=0.3, address_connections=1)) as server:
        server.body = "x" * 30_000_000
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(server.address)
            connection.sendall(request("GET", "/v1/health", *(["Connection: close"] if close else [])))
            _is_well(server)  # the only place is free again


def test_a_head_that_is_too_long_is_431_and_not_kept_in_memory() -> None:
    with listening() as server, server.connect() as connection:
        sent = 0
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /v1/health HTTP/1.1\r\n")
            while sent < 200_000_000:
                sent += connection.send(b"X: " + b"x" * 60_000 + b"\r\n")
        assert sent < 50_000_000


def test_who_sends_too_long_a_head_is_told() -> None:
    with listening() as server, server.connect() as connection:
        connection.sendall(request("GET", "/v1/health")[:-2] + b"X-Long: " + b"x" * MAX_HEAD_BYTES)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert str(MAX_HEAD_BYTES) in answer.detail
        assert closed(connection), GONE


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /v1/health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: x\r\n folded\r\nX\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_http_is_problem_details(sent: bytes) -> None:
    with listening() as server, server.connect() as connection:
        connection.sendall(sent)
        answer = read_answer(connection)
        assert answer.status == 400, answer
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["date"]
        assert answer.detail
    assert not server.events


def test_a_body_that_is_no_chunk_ends_the_request_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with listening() as server:
        with server.connect() as connection:
            connection.sendall(request("POST", "/v1/batches", TOKEN, "Transfer-Encoding: chunked") + b"zz\r\n")
            assert read_answer(connection).status == 400
            assert closed(connection), GONE
        assert not server.events
        _is_well(server)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_upgrade_is_not_taken_up_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with listening() as server, server.connect() as connection:
        connection.sendall(request("GET", "/v1/health", "Connection: Upgrade", "Upgrade: websocket"))
        assert read_answer(connection).status == 200
    assert not caplog.records


def test_pipelined_requests_are_answered_in_turn() -> None:
    with listening() as server, server.connect() as connection:
        connection.sendall(request("GET", "/v1/health") * 3 + request("GET", "/nowhere", "Connection: close"))
        with connection.makefile("rb") as stream:
            statuses = re.findall(rb"HTTP/1\.1 (\d+) ", stream.read())
    assert statuses == [b"200", b"200", b"200", b"404"]


def test_one_address_has_so_many_connections_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    with listening(Limits(address_connections=3)) as server, contextlib.ExitStack() as held:
        first = [held.enter_context(server.connect()) for _ in range(3)]
        for _ in range(5):
            with server.connect() as refused:
                assert closed(refused), GONE
        other = held.enter_context(socket.create_connection(server.address, 20, ("127.0.0.2", 0)))
        for connection in (*first, other):
            connection.sendall(request("GET", "/v1/health"))
            assert read_answer(connection).status == 200
        first[0].close()
        _is_well(server)
    (told,) = (record for record in caplog.records if record.getMessage() == "connections were refused")
    assert vars(told)["last_from"] == "127.0.0.1"


def test_there_are_so_many_connections_in_all(authority: Authority) -> None:
    """Those that are still in their handshake, too."""
    tls = tls_context(authority.server_chain, authority.server_chain)
    with listening(Limits(connections=2, head_seconds=0.5), tls) as server, contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(server.connect())
        with server.connect() as refused:
            refused.settimeout(0.3)
            assert closed(refused), GONE
        trusts = ssl.create_default_context(cafile=authority.ca_file)
        deadline = time.monotonic() + 20
        while True:  # once their handshakes are given up, there is room
            with contextlib.suppress(OSError), server.connect(trusts) as connection:
                connection.sendall(request("GET", "/v1/health"))
                answer = read_answer(connection)
                break
            assert time.monotonic() < deadline
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_flood_of_an_address_is_429_on_a_real_connection() -> None:
    with listening(Limits(address_rate=1)) as server, server.connect() as connection:
        statuses = []
        for _ in range(12):
            connection.sendall(request("POST", "/v1/token", body=b"{}"))
            statuses.append(read_answer(connection))
    assert [answer.status for answer in statuses] == [200] * 10 + [429] * 2
    assert statuses[-1].headers["retry-after"] == "1"
    assert "too many requests" in statuses[-1].detail


def test_as_many_connections_as_the_system_has_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert fitting(100) == 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        assert fitting(min(hard, 2000) - 256) == min(hard, 2000) - 256  # the soft limit was raised
        assert fitting(10**9) == hard - 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _is_well(server: Listening) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), server.connect() as connection:
            connection.sendall(request("GET", "/v1/health"))
            assert read_answer(connection).status == 200
            return
        assert time.monotonic() < deadline
