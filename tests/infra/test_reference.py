"""The generated reference is what the code says, and the schemas take what the codec takes."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.settings import load
from cli.config.files import read
from contracts.codec import decode, encode, inflate
from contracts.configuration import Group
from contracts.document import Document, MetricSettings
from contracts.overlay import leaves
from contracts.schema import batch_schema, document_schema
from infra.reference import FOLDER, stale
from tests.functions.batches import batch


def test_every_generated_page_is_up_to_date() -> None:
    assert stale() == []


def test_the_example_of_agent_toml_is_good() -> None:
    assert load(FOLDER / "agent.example.toml").targets[0].name == "main"


def test_the_example_of_a_configuration_says_every_key_and_the_defaults() -> None:
    said = leaves(read(FOLDER / "configuration.example.toml").document)
    defaults = leaves(Document().model_dump(mode="json", exclude={"metrics"}))
    others = {key: value for key, value in said.items() if not key.startswith("metrics.")}
    assert set(others) == set(defaults)
    assert {key for key, value in others.items() if defaults[key] not in (None, value)} == set()
    assert {key.rpartition(".")[2] for key in said if key.startswith("metrics.")} == set(MetricSettings.model_fields)


def test_the_group_of_the_example_is_one_when_it_is_not_commented_out(tmp_path: Path) -> None:
    text = (FOLDER / "configuration.example.toml").read_text()
    (tmp_path / "group.toml").write_text(re.sub(r"^# (?=\[group\]|selector|priority)", "", text, flags=re.MULTILINE))
    assert read(tmp_path / "group.toml").group == Group(selector={"role": "web", "environment": "production"})


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
