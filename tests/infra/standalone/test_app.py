"""The application answers as API Gateway does, and refuses before it reads."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.standalone.app import MAX_BODY_BYTES, MAX_SMALL_BODY_BYTES, Functions, Gateway
from infra.standalone.events import Event
from infra.standalone.limits import DEFAULTS, Limits
from infra.standalone.pools import SIZES, Pools, Size
from infra.standalone.protocol import MAX_HEAD_BYTES

Message = MutableMapping[str, Any]
Answerer = Callable[[Event], dict[str, Any]]
Clock = Callable[[], float]

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

    def accept(self, key: str) -> None:
        self.accepted.append(key)

    def handler(self, event: Event, _context: object) -> dict[str, Any]:
        self.events.append(event)
        return self.answer(event)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools()
    yield made
    made.close()


@pytest.fixture
def gateway(fake: Fake, pools: Pools) -> Gateway:
    return gateway_of(fake, pools)


def gateway_of(fake: Fake, pools: Pools, limits: Limits = DEFAULTS, clock: Clock = time.monotonic) -> Gateway:
    handlers = dict.fromkeys(("ingest", "config", "query", "identity"), fake.handler)
    return Gateway(Functions(fake.authorizer, handlers, fake.accept), pools, limits, clock)


async def ask(
    gateway: Gateway,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    parts: Sequence[bytes] = (b"",),
    *,
    leaves: bool = False,
    source: str = "192.0.2.7",
    state: dict[str, Any] | None = None,
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
        "client": (source, 1234),
        "server": ("127.0.0.1", 80),
        "state": state or {},
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


@pytest.mark.parametrize(
    ("method", "path", "most"), [("POST", "/v1/batches", MAX_BODY_BYTES), ("POST", "/v1/token", MAX_SMALL_BODY_BYTES)]
)
def test_a_body_that_does_not_say_is_read_to_the_limit_only(
    gateway: Gateway, fake: Fake, method: str, path: str, most: int
) -> None:
    answer = asyncio.run(ask(gateway, method, path, [TOKEN], [b"x" * (most // 4)] * 20))
    assert (answer.status, answer.parts_read) == (413, 5)
    assert str(most) in answer.detail
    assert not fake.events


@pytest.mark.parametrize(
    ("method", "path", "most"),
    [
        ("POST", "/v1/batches", MAX_BODY_BYTES),
        ("POST", "/v1/agents", MAX_SMALL_BODY_BYTES),
        ("GET", "/v1/config", MAX_SMALL_BODY_BYTES),
    ],
)
def test_a_body_of_the_limit_passes(gateway: Gateway, fake: Fake, method: str, path: str, most: int) -> None:
    headers = [TOKEN, ("Content-Type", "text/plain"), ("Content-Length", str(most))]
    answer = asyncio.run(ask(gateway, method, path, headers, [b"x" * most]))
    assert answer.status == 200
    assert len(fake.events[0]["body"]) == most


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/auth/login"])
def test_a_body_that_does_not_arrive_is_given_up(pools: Pools, fake: Fake, path: str) -> None:
    gateway = gateway_of(fake, pools, Limits(body_seconds=0.01, head_seconds=0.01))
    answer = asyncio.run(ask(gateway, "POST", path, [TOKEN], []))
    assert (answer.status, answer.header("connection")) == (408, "close")


def test_a_head_that_came_at_once_and_is_too_long_is_refused(gateway: Gateway, fake: Fake) -> None:
    answer = asyncio.run(ask(gateway, "GET", "/v1/health", [("X-Long", "x" * MAX_HEAD_BYTES)]))
    assert (answer.status, answer.detail) == (
        431,
        f"the request's line and headers are more than {MAX_HEAD_BYTES} bytes",
    )
    assert asyncio.run(ask(gateway, "GET", f"/v1/health?{'x' * MAX_HEAD_BYTES}")).status == 431
    assert not fake.events


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


@pytest.mark.parametrize(("method", "target", "status"), [
    ("GET", "/v1/health", 200), ("GET", "/v1/config", 401), ("GET", "/nowhere", 404), ("PUT", "/v1/health", 405),
])  # fmt: skip
def test_every_answer_is_safe_to_receive(gateway: Gateway, method: str, target: str, status: int) -> None:
    answer = asyncio.run(ask(gateway, method, target))
    assert answer.status == status
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("content-security-policy") == "default-src 'none'; frame-ancestors 'none'"
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("server") is None
    assert answer.header("strict-transport-security") is None  # it would mean nothing in clear


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


def test_a_batch_that_cannot_be_queued_is_to_be_sent_again(fake: Fake, pools: Pools) -> None:
    def full(_key: str) -> None:
        raise OSError("no space left on device")

    fake.answer = lambda _event: {"statusCode": 202, "body": '{"key": "batches/v1/x"}'}
    gateway = Gateway(Functions(fake.authorizer, {"ingest": fake.handler}, full), pools)
    answer = asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN], [b"x"]))
    assert (answer.status, answer.header("retry-after")) == (503, "10")


def test_a_client_certificate_reaches_the_authorizer_and_the_function(gateway: Gateway, fake: Fake) -> None:
    shown = {"clientCertPem": "-----BEGIN CERTIFICATE-----", "subjectDN": "CN=db-1"}
    asyncio.run(ask(gateway, "GET", "/v1/config", [TOKEN], state={"client_cert": shown}))
    for event in (*fake.asked, *fake.events):
        assert event["requestContext"]["authentication"] == {"clientCert": shown}
    asyncio.run(ask(gateway, "GET", "/v1/config", [TOKEN]))
    assert "authentication" not in fake.events[1]["requestContext"]


@dataclass
class Held:
    """Functions that answer when they are let go, and say how many have begun."""

    fake: Fake
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.fake.answer = self._answer

    def _answer(self, _event: Event) -> dict[str, Any]:
        assert self.go.wait(10)
        return {"statusCode": 200}

    async def begun(self, count: int) -> None:
        while len(self.fake.events) < count:
            await asyncio.sleep(0)


@pytest.mark.parametrize(("limits", "status"), [(Limits(uploads=2), 503), (Limits(agent_uploads=2), 429)])
def test_too_many_batches_at_a_time_are_to_come_back(fake: Fake, pools: Pools, limits: Limits, status: int) -> None:
    held, gateway = Held(fake), gateway_of(fake, pools, limits)

    async def three() -> list[int]:
        first = [asyncio.create_task(ask(gateway, "POST", "/v1/batches", [TOKEN])) for _ in range(2)]
        await held.begun(2)
        third = await ask(gateway, "POST", "/v1/batches", [TOKEN], [b"x"] * 5)
        assert third.header("retry-after")
        assert third.parts_read == 0
        held.go.set()
        return [third.status, *(each.status for each in await asyncio.gather(*first))]

    assert asyncio.run(three()) == [status, 200, 200]
    assert asyncio.run(ask(gateway, "POST", "/v1/batches", [TOKEN])).status == 200


def test_functions_that_wait_for_the_store_or_hash_passwords_keep_no_batch_from_its_way(fake: Fake) -> None:
    pools = Pools({**SIZES, "query": Size(1, 2), "passwords": Size(1, 2)})
    held, gateway = Held(fake), gateway_of(fake, pools)
    slow = ["/v1/health", "/v1/auth/login"]

    async def story() -> list[int]:
        waiting = [
            asyncio.create_task(ask(gateway, method, path))
            for method, path in zip(("GET", "POST"), slow, strict=True)
            for _ in range(2)
        ]
        await held.begun(2)
        more = [await ask(gateway, "GET", slow[0]), await ask(gateway, "POST", slow[1])]
        fake.answer = lambda _event: {"statusCode": 202, "body": '{"key": "k"}'}
        batch = await ask(gateway, "POST", "/v1/batches", [TOKEN])
        token = await ask(gateway, "POST", "/v1/token")
        held.go.set()
        await asyncio.gather(*waiting)
        return [*(each.status for each in more), batch.status, token.status]

    assert asyncio.run(story()) == [503, 503, 202, 202]
    pools.close()


def test_authorizer_calls_are_bounded(fake: Fake) -> None:
    go = threading.Event()
    asked = fake.authorizer

    def slow(event: Event, context: object) -> dict[str, Any]:
        assert go.wait(10)
        return asked(event, context)

    pools = Pools({**SIZES, "authorizer": Size(1, 3)})
    gateway = Gateway(Functions(slow, {"config": fake.handler}, fake.accept), pools)

    async def story() -> list[int]:
        first = [asyncio.create_task(ask(gateway, "GET", "/v1/config", [TOKEN])) for _ in range(3)]
        await asyncio.sleep(0)
        fourth = await ask(gateway, "GET", "/v1/config", [TOKEN])
        go.set()
        return [fourth.status, *(each.status for each in await asyncio.gather(*first))]

    assert asyncio.run(story()) == [503, 200, 200, 200]
    pools.close()


RATES = Limits(agent_rate=2, address_rate=1)


@dataclass
class Rated:
    """A gateway with small rates, and a clock that stands still."""

    gateway: Gateway
    now: list[float]

    def statuses(self, count: int, method: str, path: str, headers: Sequence[tuple[str, str]] = (), **more: str) -> str:
        async def all_of_them() -> list[int]:
            return [(await ask(self.gateway, method, path, headers, **more)).status for _ in range(count)]  # type: ignore[arg-type]

        found = asyncio.run(all_of_them())
        return ", ".join(f"{found.count(status)} x {status}" for status in dict.fromkeys(found))


@pytest.fixture
def rated(fake: Fake, pools: Pools) -> Rated:
    now = [100.0]
    return Rated(gateway_of(fake, pools, RATES, lambda: now[0]), now)


def test_a_caller_has_its_rate(rated: Rated, fake: Fake) -> None:
    assert rated.statuses(22, "GET", "/v1/config", [TOKEN]) == "20 x 200, 2 x 429"
    fake.permit = {"isAuthorized": True, "context": {"sub": "db-2"}}
    assert rated.statuses(1, "GET", "/v1/config", [TOKEN]) == "1 x 200"
    fake.permit = {"isAuthorized": True, "context": {"sub": "db-1"}}
    rated.now[0] += 1
    assert rated.statuses(3, "GET", "/v1/config", [TOKEN]) == "2 x 200, 1 x 429"


def test_a_429_says_when_to_come_back_before_the_body_is_read(rated: Rated) -> None:
    rated.statuses(20, "GET", "/v1/config", [TOKEN])
    answer = asyncio.run(ask(rated.gateway, "POST", "/v1/batches", [TOKEN], [b"x"] * 5))
    assert (answer.status, answer.header("retry-after"), answer.parts_read) == (429, "1", 0)
    assert answer.detail == "too many requests; come back in 1 s"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/token", 200), ("GET", "/v1/config", 401), ("GET", "/nowhere", 404), ("PUT", "/v1/token", 405)],
)
def test_an_address_has_its_rate_without_a_good_token(rated: Rated, method: str, path: str, status: int) -> None:
    assert rated.statuses(12, method, path) == f"10 x {status}, 2 x 429"
    assert rated.statuses(1, method, path, source="192.0.2.8") == f"1 x {status}"


def test_bad_tokens_count_against_their_address_and_stop_no_good_one(rated: Rated, fake: Fake) -> None:
    good = fake.permit
    fake.permit = {"isAuthorized": False}
    assert rated.statuses(12, "GET", "/v1/config", [TOKEN]) == "10 x 403, 2 x 429"
    fake.permit = good
    assert rated.statuses(1, "GET", "/v1/config", [TOKEN]) == "1 x 200"


def test_hosts_of_ipv6_have_a_network_each(rated: Rated) -> None:
    assert rated.statuses(10, "POST", "/v1/token", source="2001:db8::1") == "10 x 200"
    assert rated.statuses(1, "POST", "/v1/token", source="2001:db8::2") == "1 x 429"
    assert rated.statuses(1, "POST", "/v1/token", source="2001:db8:0:1::1") == "1 x 200"


def test_a_monitor_on_this_machine_is_always_answered(rated: Rated) -> None:
    assert rated.statuses(30, "GET", "/v1/health", source="127.0.0.1") == "30 x 200"
    assert rated.statuses(12, "POST", "/v1/token", source="127.0.0.1") == "10 x 200, 2 x 429"
    assert rated.statuses(12, "GET", "/v1/health", source="192.0.2.9") == "10 x 200, 2 x 429"


def test_a_rate_of_zero_is_no_limit(fake: Fake, pools: Pools) -> None:
    rated = Rated(gateway_of(fake, pools, Limits(agent_rate=0, address_rate=0)), [])
    assert rated.statuses(600, "POST", "/v1/token") == "600 x 200"
