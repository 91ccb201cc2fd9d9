"""A configuration document is complete whatever it leaves out, and an old agent reads a newer one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.codec import explain
from contracts.document import Document, VersionedDocument
from contracts.metrics import CATALOGUE, METRICS
from contracts.version import __version__


def test_an_empty_document_has_the_defaults() -> None:
    document = Document.model_validate({})
    assert document == Document()
    assert document.intervals() == {metric.name: metric.every_seconds for metric in METRICS}
    assert (document.full_every_seconds, document.databases.include) == (3600, ("*",))


def test_a_document_survives_json() -> None:
    document = Document.model_validate({"metrics": {"host": {"every_seconds": 5}}, "databases": {"exclude": ["a*"]}})
    assert Document.model_validate_json(document.model_dump_json()) == document


def test_what_an_old_agent_does_not_know_it_ignores() -> None:
    newer = {
        "colour": "red",
        "upload_every_seconds": 30,
        "metrics": {"host": {"enabled": True, "colour": "red"}, "of_tomorrow": {"every_seconds": 5}},
        "databases": {"colour": ["red"]},
    }
    document = VersionedDocument.model_validate({"version": 3, "colour": "red", "document": newer}).document
    assert document.upload_every_seconds == 30
    assert "of_tomorrow" not in document.intervals()


def test_without_an_answer_the_version_is_0() -> None:
    assert VersionedDocument() == VersionedDocument(version=0, document=Document())


def test_a_metric_keeps_its_interval_unless_it_is_given_another() -> None:
    document = Document.model_validate({"metrics": {"host_cpu": {"every_seconds": 7}, "host": {"enabled": True}}})
    assert document.interval("host_cpu") == 7
    assert document.interval("host") == 3600
    assert document.interval("table_stats") == 60


def test_what_is_said_of_a_metric_wins_over_the_preset() -> None:
    said = {"table_stats": {"every_seconds": 7}, "host": {"enabled": False}, "index_stats": {"enabled": True}}
    document = Document.model_validate({"preset": "minimal", "metrics": {**said, "of_tomorrow": {"enabled": True}}})
    assert document.interval("table_stats") == 7
    assert document.interval("host") is None
    assert document.interval("index_stats") == CATALOGUE["index_stats"].every_seconds
    assert document.interval("host_cpu") == 60


def test_an_interval_does_not_switch_on_what_the_preset_has_off() -> None:
    document = Document.model_validate({"preset": "minimal", "metrics": {"index_stats": {"every_seconds": 7}}})
    assert document.interval("index_stats") is None


def test_a_preset_of_the_future_is_refused_whole_by_its_name() -> None:
    with pytest.raises(ValidationError) as refused:
        Document.model_validate({"preset": "frugal", "metrics": {"host": {"every_seconds": 5}}})
    knows = "minimal, standard, exhaustive, rds"
    assert explain(refused.value) == f"preset: version {__version__} knows {knows}, not 'frugal'"


@pytest.mark.parametrize("pattern", ["*", "app_?", "[a-c]*", "[!a]x", "[]]", "[[]", "a]b", "x" * 256, "Ünïcode"])
def test_a_pattern_that_could_match_is_taken(pattern: str) -> None:
    assert Document.model_validate({"databases": {"include": [pattern]}}).databases.include == (pattern,)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "at least 1 character"),
        ("x" * 257, "at most 256 characters"),
        ("a\0b", "NUL"),
        ("[", "'[' has a [ that no ] closes"),
        ("app_[a-c", "'app_[a-c' has a [ that no ] closes"),
        ("[!]", "no ] closes"),
        ("[a][b", "no ] closes"),
    ],
)
@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_pattern_that_could_match_no_database_is_refused(key: str, pattern: str, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Document.model_validate({"databases": {key: ["app", pattern]}})
    assert explain(refused.value).startswith(f"databases.{key}[1]: ")
    assert message in explain(refused.value)


def test_a_bound_may_be_left_out_or_be_none_at_all() -> None:
    budget = Document.model_validate({"budget": {"cpu_share": None, "database_share": 1}}).budget
    assert (budget.cpu_share, budget.database_share) == (None, 1)
    assert budget.upload_bytes_per_hour == Document().budget.upload_bytes_per_hour


def test_a_metric_that_is_off_has_no_interval() -> None:
    document = Document.model_validate({"metrics": {"host_cpu": {"enabled": False, "every_seconds": 7}}})
    assert document.interval("host_cpu") is None
    assert set(document.intervals()) == {metric.name for metric in METRICS} - {"host_cpu"}


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        ("pull_every_seconds", 1, 86_400),
        ("upload_every_seconds", 1, 3600),
        ("full_every_seconds", 60, 3600),
        ("statement_timeout_ms", 10, 600_000),
    ],
)
def test_a_number_has_its_bounds(key: str, least: int, most: int) -> None:
    for value in (least, most):
        assert getattr(Document.model_validate({key: value}), key) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ValidationError) as refused:
            Document.model_validate({key: value})
        assert explain(refused.value).startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"pull_every_seconds": "60"}, "pull_every_seconds: "),
        ({"pull_every_seconds": 1.5}, "pull_every_seconds: "),
        ({"pull_every_seconds": True}, "pull_every_seconds: "),
        ({"preset": None}, "preset: "),
        ({"preset": "Not a word"}, "preset: "),
        ({"metrics": {"host": {"every_seconds": 0}}}, "metrics.host.every_seconds: "),
        ({"metrics": {"host": {"every_seconds": 86_401}}}, "metrics.host.every_seconds: "),
        ({"metrics": {"host": {"enabled": "perhaps"}}}, "metrics.host.enabled: "),
        ({"metrics": {"host": 60}}, "metrics.host: "),
        ({"metrics": ["host"]}, "metrics: "),
        ({"budget": {"cpu_share": 0}}, "budget.cpu_share: "),
        ({"budget": {"database_share": 1.1}}, "budget.database_share: "),
        ({"budget": {"cpu_share": "0.05"}}, "budget.cpu_share: "),
        ({"budget": {"upload_bytes_per_hour": 0}}, "budget.upload_bytes_per_hour: "),
        ({"databases": {"include": "a"}}, "databases.include: "),
        ({"databases": {"include": [1]}}, "databases.include[0]: "),
        ({"databases": {"include": []}}, "databases.include: at least one pattern"),
        ({"databases": {"at_most": 0}}, "databases.at_most: "),
        ({"logs": {"least_severity": "WARNING"}}, "logs.least_severity: version"),
        ({"logs": {"at_most_per_minute": 0}}, "logs.at_most_per_minute: "),
    ],
)
def test_a_bad_value_is_refused_by_its_place(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Document.model_validate(document)
    assert explain(refused.value).startswith(message)
    with pytest.raises(ValidationError) as refused:
        VersionedDocument.model_validate({"version": 1, "document": document})
    assert explain(refused.value).startswith("document")
