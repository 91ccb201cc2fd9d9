"""The JSON Schemas take what the codec takes, and refuse what it refuses wherever JSON Schema can say it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from contracts.batch import Batch
from contracts.codec import encode, inflate
from contracts.document import VersionedDocument
from contracts.metrics import METRICS
from contracts.schema import batch_schema, document_schema
from tests.contracts.examples import FAULTS, VALID, Fault
from tests.contracts.strategies import batches

BATCH = Draft202012Validator(batch_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
DOCUMENT = Draft202012Validator(document_schema())


@pytest.mark.parametrize("schema", [batch_schema(), document_schema()], ids=["batch", "document"])
def test_a_schema_is_valid_in_its_dialect(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_a_valid_batch_follows_the_schema() -> None:
    BATCH.validate(VALID)


@given(batches)
@settings(max_examples=40, deadline=None)
def test_what_is_encoded_follows_the_schema(batch: Batch) -> None:
    BATCH.validate(json.loads(inflate(encode(batch))))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_breaks_the_schema_where_it_can_say_so(fault: Fault) -> None:
    assert BATCH.is_valid(fault.document) != fault.in_schema


@pytest.mark.parametrize("name", ["schema", "agent_id", "stream_id", "seq", "sent_at", "agent_version"])
def test_the_schema_requires_what_the_contract_does(name: str) -> None:
    without = {key: value for key, value in VALID.items() if key != name}
    assert BATCH.is_valid(without) == (name == "schema")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_column_is_explained(metric: Any) -> None:
    found = json.dumps(batch_schema()["$defs"]["Frame"])
    assert all(json.dumps(column.help)[1:-1] in found for column in metric.columns)


def test_the_defaults_follow_the_documents_schema() -> None:
    DOCUMENT.validate(VersionedDocument().model_dump(mode="json"))


@pytest.mark.parametrize(
    "document",
    [
        {"pull_every_seconds": 0},
        {"full_every_seconds": 59},
        {"metrics": {"host": {"every_seconds": "60"}}},
        {"metrics": {"host": 60}},
        {"databases": {"include": []}},
        {"preset": "frugal"},
        {"budget": {"cpu_share": 2}},
        {"databases": {"at_most": 1.5}},
    ],
    ids=str,
)
def test_a_bad_document_breaks_the_schema(document: dict[str, Any]) -> None:
    assert not DOCUMENT.is_valid({"version": 1, "document": document})


def test_what_an_old_agent_would_ignore_the_schema_lets_be() -> None:
    assert DOCUMENT.is_valid({"version": 1, "document": {"colour": 1, "metrics": {"of_tomorrow": {}}}, "colour": 1})
