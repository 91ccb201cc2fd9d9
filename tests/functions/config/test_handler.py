"""`GET /v1/config`, as an agent sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from contracts.document import Document, VersionedDocument
from functions.config.handler import handler
from functions.config.tags import matches
from functions.store import Connection
from tests.functions.config.api import obeys, poll
from tests.functions.events import operator_claims, problem, request

pytestmark = pytest.mark.usefixtures("deployed")


def _save(connection: Connection, version: int, body: dict[str, Any]) -> None:
    connection.execute("insert into store.document values ('fleet', %s, %s, 'x', 'ann', 'why')", (version, Jsonb(body)))


def test_before_anybody_saved_one_the_defaults_are_version_0() -> None:
    answered = poll()
    assert answered["statusCode"] == 200
    assert VersionedDocument.model_validate_json(answered["body"]) == VersionedDocument()
    assert answered["headers"]["Content-Type"] == "application/json"
    assert answered["headers"]["Cache-Control"] == "no-cache"


def test_the_newest_document_of_the_fleet_is_answered(connection: Connection) -> None:
    for version in (9, 10):
        _save(connection, version, {"upload_every_seconds": version})
    assert obeys() == VersionedDocument(version=2, document=Document(upload_every_seconds=10))


def test_an_unchanged_document_has_no_body(connection: Connection) -> None:
    etag = poll()["headers"]["ETag"]
    for _ in range(2):
        again = poll(if_none_match=etag)
        assert again["statusCode"] == 304
        assert not again["body"]
        assert again["headers"]["ETag"] == etag
    _save(connection, 1, {})
    changed = poll(if_none_match=etag)
    assert changed["statusCode"] == 200
    assert changed["headers"]["ETag"] != etag


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b",W/"a"', True),
        ("*", True),
        (" * ", True),
        ('"b"', False),
        ("a", False),
        ("", False),
        (None, False),
        ('"b, a"', False),
    ],
)
def test_if_none_match_is_a_list_of_tags(header: str | None, same: bool) -> None:
    assert matches(header, '"a"') is same


@pytest.mark.parametrize("header", ["{}", "W/{}", '"b", {}', "*"])
def test_it_is_such_a_list_to_the_store_too(header: str) -> None:
    tag = poll()["headers"]["ETag"]
    assert poll(if_none_match=header.format(tag))["statusCode"] == 304
    assert poll(if_none_match='"b"')["statusCode"] == 200


def test_the_answer_is_complete() -> None:
    assert json.loads(poll()["body"])["document"].keys() == Document.model_fields.keys()


def test_an_operator_has_no_configuration_to_obey() -> None:
    answered = handler(request("GET", "/v1/config", claims=operator_claims("admin")), None)
    assert problem(answered)[0] == 403


def test_a_store_that_is_down_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=127.0.0.1 port=1 password=secret")
    answered = poll()
    assert problem(answered) == (503, "the store is not available")
    assert int(answered["headers"]["Retry-After"]) > 0
