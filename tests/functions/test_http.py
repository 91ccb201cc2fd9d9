from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import BaseModel

from functions.http import HttpApi, ProblemError, calling_agent
from functions.store import StoreUnavailableError
from tests.functions.events import agent_claims, operator_claims, problem, request


class Number(BaseModel):
    number: int


def _meets(api: Any, meeting: threading.Barrier) -> Any:
    """An API whose one route lets another request come between its beginning and its answer."""

    @api.get("/where/<name>")  # type: ignore[untyped-decorator]
    def where(name: str) -> dict[str, str]:
        meeting.wait(10)
        return {"argument": name, "path": api.current_event.path}

    return api


def _paths(api: Any) -> list[tuple[str, str]]:
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(lambda name: api.resolve(request("GET", f"/where/{name}"), None), ("a", "b"))
        bodies = [json.loads(answer["body"]) for answer in answers]
    return [(body["argument"], body["path"]) for body in bodies]


def test_threads_do_not_see_each_others_event() -> None:
    assert _paths(_meets(HttpApi(), threading.Barrier(2))) == [("a", "/where/a"), ("b", "/where/b")]


def test_powertools_own_resolver_mixes_them_up() -> None:
    """The reason for HttpApi; once this fails, there is none."""
    assert _paths(_meets(APIGatewayHttpResolver(), threading.Barrier(2))) != [("a", "/where/a"), ("b", "/where/b")]


@pytest.fixture
def _threads_switch_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_threads_switch_often")
def test_the_first_requests_of_a_route_may_come_at_once() -> None:
    for _ in range(20):
        api, together = HttpApi(), threading.Barrier(8)

        @api.get("/one")
        def one() -> Number:
            return Number(number=1)

        def first(_: int, api: HttpApi = api, together: threading.Barrier = together) -> Any:
            together.wait(10)
            return api.resolve(request("GET", "/one"), None)["statusCode"]

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(first, range(8))) == {200}


def _api(error: Exception) -> HttpApi:
    api = HttpApi()

    @api.get("/fails")
    def fails() -> Number:
        raise error

    @api.get("/limited/<name>")
    def limited(name: int) -> Number:
        return Number(number=name)

    @api.get("/wrong")
    def wrong() -> Number:
        return {"number": "none"}  # type: ignore[return-value]

    return api


def test_errors_are_problem_details() -> None:
    answer = _api(ProblemError(HTTPStatus.CONFLICT, "mend it", {"Retry-After": "3"})).resolve(
        request("GET", "/fails"), None
    )
    assert problem(answer) == (409, "mend it")
    assert answer["headers"]["Retry-After"] == "3"


def test_an_unexpected_error_says_nothing_of_itself() -> None:
    answer = _api(RuntimeError("secret")).resolve(request("GET", "/fails"), None)
    assert problem(answer) == (500, "an unexpected error; the log of the function has it")
    assert "secret" not in answer["body"]
    assert "Traceback" not in answer["body"]


def test_an_unavailable_store_is_to_be_tried_again() -> None:
    answer = _api(StoreUnavailableError("host=db password=x")).resolve(request("GET", "/fails"), None)
    assert problem(answer) == (503, "the store is not available")
    assert int(answer["headers"]["Retry-After"]) > 0


def test_what_is_not_valid_is_named() -> None:
    status, detail = problem(_api(ValueError()).resolve(request("GET", "/limited/x"), None))
    assert status == 422
    assert detail.startswith("path.name: ")


def test_an_answer_that_breaks_its_own_declaration_is_our_fault() -> None:
    assert problem(_api(ValueError()).resolve(request("GET", "/wrong"), None))[0] == 500


def test_an_unknown_route_is_not_found() -> None:
    assert problem(_api(ValueError()).resolve(request("GET", "/nowhere"), None)) == (404, "there is no such route")


def test_only_an_agent_is_a_calling_agent() -> None:
    api = HttpApi()

    @api.get("/who")
    def who() -> dict[str, str]:
        return {"agent": calling_agent(api)}

    assert json.loads(api.resolve(request("GET", "/who", claims=agent_claims("a-7")), None)["body"]) == {"agent": "a-7"}
    assert problem(api.resolve(request("GET", "/who", claims=operator_claims("admin")), None))[0] == 403


def _takes_a_number() -> HttpApi:
    api = HttpApi()

    @api.post("/number")
    def number(given: Number) -> Number:
        return given

    return api


def _sent(body: bytes, media_type: str | None = "application/json") -> tuple[int, str]:
    headers = {} if media_type is None else {"content-type": media_type}
    answer = _takes_a_number().resolve(request("POST", "/number", headers=headers, body=body), None)
    return answer["statusCode"], answer["body"]


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", None])
def test_a_body_is_json(media_type: str | None) -> None:
    assert _sent(b'{"number": 7}', media_type) == (200, '{"number":7}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"number": ' + b"1" * 5_000 + b"}",
        b"[]",
        b"7",
        b"null",
    ],
    ids=["nothing", "half", "no UTF-8", "deep", "deep objects", "a long number", "a list", "a number", "null"],
)
def test_a_body_that_is_no_json_or_not_what_is_asked_is_the_callers_fault(body: bytes) -> None:
    status, detail = _sent(body)
    assert status == 422
    assert json.loads(detail)["detail"].startswith("body")


@pytest.mark.parametrize(
    "media_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain"],
)
def test_a_form_is_no_body(media_type: str) -> None:
    assert _sent(b"number=7", media_type)[0] == 415


@pytest.mark.parametrize("path", ["/fails", "/limited/1", "/limited/x", "/nowhere", "/wrong"])
def test_every_answer_is_safe_to_receive(path: str) -> None:
    headers = _api(RuntimeError()).resolve(request("GET", path), None)["headers"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in headers


def test_a_function_may_say_itself_what_is_kept_of_its_answer() -> None:
    error = ProblemError(HTTPStatus.CONFLICT, "", {"Cache-Control": "max-age=5"})
    assert _api(error).resolve(request("GET", "/fails"), None)["headers"]["Cache-Control"] == "max-age=5"


def test_who_came_by_tls_is_to_come_back_by_tls() -> None:
    asked = request("GET", "/limited/1", headers={"x-forwarded-proto": "https"})
    headers = _api(RuntimeError()).resolve(asked, None)["headers"]
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
