"""The application answers as API Gateway does, and refuses before it reads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.standalone import app as module
from infra.standalone.app import MAX_BODY_BYTES, Functions, Gateway
from infra.standalone.events import Event

Message = MutableMapping[str, Any]
Answerer = Callable[[Event], dict[str, Any]]

TOKEN = ("Authorization", "Bearer x")


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    parts_read: int

    def header(self, name: str) -> str | None:
        return ", ".join(value for found, value in self.headers if found == name) or None

    @property
    def detail(self) -> str:
        assert self.header("content-type") == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["detail"])


@dataclass
class Fake:
    """The functions: what they were called with, and what they answer."""

    events: list[Event] = field(default_factory=list)
    asked: list[Event] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    permit: dict[str, Any] = field(default_factory=lambda: {"isAuthorized": True, "context": {"sub": "db-1"}})
    answer: Answerer = lambda _event: {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": "{}"}

    def authorizer(self, event: Event, _context: object) -> dict[str, Any]:
        self.asked.append(event)
        return self.permit

    def handler(self, event: Event, _context: object) -> dict[str, Any]:
        self.events.append(event)
        return self.answer(event)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def gateway(fake: Fake) -> Iterator[Gateway]:
    with ThreadPoolExecutor(4) as executor:
        handlers = dict.fromkeys(("ingest", "config", "query"), fake.handler)
        yield Gateway(Functions(fake.authorizer, handlers, lambda key: fake.accepted.append(key)), executor)


async def ask(
    gateway: Gateway,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    parts: Sequence[bytes] = (b"",),
    *,
    leaves: bool = False,
) -> Answer:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("192.0.2.7", 1234),
        "server": ("127.0.0.1", 80),
    }
    read = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal read
        if read >= len(parts):
            if leaves:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        read += 1
        return {"type": "http.request", "body": parts[read - 1], "more_body": read < len(parts) or leaves}

    async def send(message: Message) -> None:
        sent.append(message)

    await gateway(scope, receive, send)
    if not sent:
        return Answer(0, [], b"", read)
    found = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]), read)


def test_an_open_route_goes_straight_to_its_function(gateway: Gateway, fake: Fake) -> None:
    answer = asyncio.run(ask(gateway, "GET", "/v1/health?a=b"))
    assert (answer.status, answer.body) == (200, b"{}")
    (event,) = fake.events
    assert (event["routeKey"], event["rawQueryString"]) == ("GET /v1/health", "a=b")
    assert event["requestContext"]["http"]["sourceIp"] == "192.0.2.7"
    assert not fake.asked


def test_the_authorizers_context_reaches_the_function(gateway: Gateway, fake: Fake) -> None:
    asyncio.run(ask(gateway, "GET", "/v1/targets/7", [TOKEN]))
    assert fake.asked[0]["identitySource"] == ["Bearer x"]
    assert fake.events[0]["requestContext"]["authorizer"] == {"lambda": {"sub": "db-1"}}
    assert fake.events[0]["pathParameters"] == {"id": "7"}


def test_without_a_token_nothing_is_asked_or_read(gateway: Gateway, fake: Fake) -> None:
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", parts=[b"x"] * 5))
    assert (answer.status, answer.header("www-authenticate"), answer.parts_read) == (401, "Bearer", 0)
    assert "Authorization" in answer.detail
    assert not fake.asked


@pytest.mark.parametrize("permit", [{"isAuthorized": False}, {}, {"isAuthorized": "true"}])
def test_a_denial_is_403_before_the_body_is_read(gateway: Gateway, fake: Fake, permit: dict[str, Any]) -> None:
    fake.permit = permit
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], [b"x"] * 5))
    assert (answer.status, answer.parts_read) == (403, 0)
    assert answer.header("www-authenticate") == 'Bearer error="invalid_token"'
    # Problem details would tell an agent that its batch is at fault.
    assert answer.header("content-type") == "application/json"
    assert "token" in json.loads(answer.body)["message"]
    assert not fake.events


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/batches/", "/v1/targets/a%2Fb/c", "//v1/health"])
def test_an_unknown_path_is_404(gateway: Gateway, path: str) -> None:
    answer = asyncio.run(ask(gateway, "GET", path))
    assert (answer.status, answer.detail) == (404, "there is no such route")


def test_an_unknown_method_is_405_and_says_which_are_known(gateway: Gateway) -> None:
    answer = asyncio.run(ask(gateway, "DELETE", "/v1/batches"))
    assert (answer.status, answer.header("allow")) == (405, "POST")
    assert "POST" in answer.detail


def test_a_body_that_says_it_is_too_large_is_not_read(gateway: Gateway, fake: Fake) -> None:
    headers = [TOKEN, ("Content-Length", str(MAX_BODY_BYTES + 1))]
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", headers, [b"x"] * 5))
    assert (answer.status, answer.parts_read) == (413, 0)
    assert str(MAX_BODY_BYTES) in answer.detail


def test_a_body_that_does_not_say_is_read_to_the_limit_only(gateway: Gateway, fake: Fake) -> None:
    parts = [b"x" * (MAX_BODY_BYTES // 4)] * 20
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], parts))
    assert (answer.status, answer.parts_read) == (413, 5)
    assert not fake.events


def test_a_body_of_the_limit_passes(gateway: Gateway, fake: Fake) -> None:
    headers = [TOKEN, ("Content-Type", "text/plain"), ("Content-Length", str(MAX_BODY_BYTES))]
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", headers, [b"x" * MAX_BODY_BYTES]))
    assert answer.status == 200
    assert len(fake.events[0]["body"]) == MAX_BODY_BYTES


def test_a_body_that_does_not_arrive_is_given_up(gateway: Gateway, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], []))
    assert (answer.status, answer.header("connection")) == (408, "close")


def test_who_leaves_gets_no_answer(gateway: Gateway, fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], [b"half"], leaves=True))
    assert answer.status == 0
    assert not fake.events
    assert not caplog.records


def test_an_answer_keeps_its_headers_cookies_and_bytes(gateway: Gateway, fake: Fake) -> None:
    fake.answer = lambda _event: {
        "statusCode": 201,
        "headers": {"ETag": '"1"', "Cache-Control": "no-cache"},
        "cookies": ["a=1; Secure", "b=2"],
        "body": "/w==",
        "isBase64Encoded": True,
    }
    answer = asyncio.run(ask(gateway, "GET", "/v1/config", [TOKEN]))
    assert (answer.status, answer.body) == (201, b"\xff")
    assert answer.header("etag") == '"1"'
    assert answer.header("cache-control") == "no-cache"
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1; Secure", "b=2"]


def test_every_answer_is_safe_to_receive(gateway: Gateway) -> None:
    for target in ("/v1/health", "/nowhere"):
        answer = asyncio.run(ask(gateway, "GET", target))
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("cache-control") == "no-store"
        assert answer.header("server") is None


@pytest.mark.parametrize("result", [{}, {"statusCode": 200, "isBase64Encoded": True, "body": "?"}])
def test_a_function_that_answers_nonsense_is_a_500_that_tells_nothing(
    gateway: Gateway, fake: Fake, result: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    fake.answer = lambda _event: result
    answer = asyncio.run(ask(gateway, "GET", "/v1/health"))
    assert (answer.status, answer.detail) == (500, "an unexpected error; the server's log has it")
    assert caplog.records


def test_an_authorizer_that_fails_lets_nobody_in(gateway: Gateway, fake: Fake) -> None:
    fake.permit = None  # type: ignore[assignment]
    assert asyncio.run(ask(gateway, "GET", "/v1/config", [TOKEN])).status == 500
    assert not fake.events


def test_an_accepted_batch_is_queued_before_the_agent_hears_of_it(gateway: Gateway, fake: Fake) -> None:
    fake.answer = lambda _event: {"statusCode": 202, "body": '{"id": "1", "key": "batches/v1/x"}'}
    assert asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], [b"x"])).status == 202
    assert fake.accepted == ["batches/v1/x"]


def test_a_refused_batch_is_not_queued(gateway: Gateway, fake: Fake) -> None:
    fake.answer = lambda _event: {"statusCode": 422, "body": '{"key": "batches/v1/x"}'}
    assert asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], [b"x"])).status == 422
    assert not fake.accepted


def test_a_batch_that_cannot_be_queued_is_to_be_sent_again(fake: Fake) -> None:
    def full(_key: str) -> None:
        raise OSError("no space left on device")

    fake.answer = lambda _event: {"statusCode": 202, "body": '{"key": "batches/v1/x"}'}
    with ThreadPoolExecutor(1) as executor:
        gateway = Gateway(Functions(fake.authorizer, {"ingest": fake.handler}, full), executor)
        answer = asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], [b"x"]))
    assert (answer.status, answer.header("retry-after")) == (503, "10")


def test_too_many_at_a_time_are_told_to_come_back(
    gateway: Gateway, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 2)
    busy = threading.Barrier(3)

    def answer(_event: Event) -> dict[str, Any]:
        busy.wait(10)
        return {"statusCode": 200}

    async def three() -> list[int]:
        first = [asyncio.create_task(ask(gateway, "GET", "/v1/health")) for _ in range(2)]
        while len(fake.events) < 2:
            await asyncio.sleep(0)
        third = await ask(gateway, "GET", "/v1/health")
        assert third.header("retry-after")
        await asyncio.to_thread(busy.wait, 10)
        return [third.status, *(each.status for each in await asyncio.gather(*first))]

    fake.answer = answer
    assert asyncio.run(three()) == [503, 200, 200]
    fake.answer = lambda _event: {"statusCode": 200}
    assert asyncio.run(ask(gateway, "GET", "/v1/health")).status == 200
