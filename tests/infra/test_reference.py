"""The generated reference is what the code says, and the schemas take what the codec takes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.settings import load
from contracts.codec import decode, encode, inflate
from contracts.schema import batch_schema, document_schema
from infra.reference import FOLDER, stale
from tests.functions.batches import batch


def test_every_generated_page_is_up_to_date() -> None:
    assert stale() == []


def test_the_example_of_agent_toml_is_good() -> None:
    assert load(FOLDER / "agent.example.toml").targets[0].name == "main"


@pytest.mark.parametrize("schema", [batch_schema(), document_schema()])
def test_a_schema_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(inflate(encode(batch())))
    return document


def test_a_batch_of_every_metric_follows_the_schema() -> None:
    assert list(Draft202012Validator(batch_schema()).iter_errors(_document())) == []
    assert decode(encode(batch())).frames


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["agent_id"], "Not An Id"),
        (["strange"], 1),
        (["frames", 0, "metric"], "unknown"),
        (["frames", 0, "columns", "strange"], [1]),
        (["frames", 0, "collected_at"], -1),
        (["runs", 0, "status"], "fine"),
    ],
)
def test_what_breaks_the_contract_breaks_the_schema(path: list[Any], value: Any) -> None:
    document = copy.deepcopy(_document())
    place: Any = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert list(Draft202012Validator(batch_schema()).iter_errors(document))
