"""What each preset promises, and that it names metrics that there are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.document import MOST_ROWS, Document, MetricSettings
from contracts.metrics import CATALOGUE, METRICS, Metric, Scope
from contracts.presets import PRESETS

every_preset = pytest.mark.parametrize("name", PRESETS)


@every_preset
def test_a_preset_names_metrics_of_the_catalogue(name: str) -> None:
    assert set(PRESETS[name].every) - set(CATALOGUE) == set()


@every_preset
def test_intervals_are_those_that_a_document_could_have(name: str) -> None:
    said = {metric: every for metric, every in PRESETS[name].every.items() if every is not None}
    assert all(MetricSettings(every_seconds=every).every_seconds == every for every in said.values())


def test_standard_is_the_catalogues_own_defaults() -> None:
    document = Document(preset="standard")
    assert document.intervals() == {metric.name: metric.every_seconds for metric in METRICS}
    assert {metric.name: document.at_most(metric.name) for metric in METRICS} == {
        metric.name: metric.at_most for metric in METRICS
    }
    assert Document() == document


def test_minimal_is_gentler_than_standard_and_takes_nothing_that_it_does_not_name() -> None:
    found = Document(preset="minimal").intervals()
    assert set(found) == set(PRESETS["minimal"].every) & set(CATALOGUE)
    assert all(every >= CATALOGUE[metric].every_seconds for metric, every in found.items())
    assert {"database_stats", "table_stats", "host_cpu", "log_event", "agent_health"} <= set(found)


def test_exhaustive_has_everything_on_and_nothing_more_seldom() -> None:
    found = Document(preset="exhaustive").intervals()
    assert set(found) == set(CATALOGUE)
    assert all(every <= CATALOGUE[metric].every_seconds for metric, every in found.items())


def test_rds_leaves_out_what_an_agent_elsewhere_cannot_see() -> None:
    found = Document(preset="rds").intervals()
    of_the_host = {metric.name for metric in METRICS if metric.scope is Scope.HOST and metric.name.startswith("host")}
    assert set(CATALOGUE) - set(found) == (of_the_host | {"log_event", "wal_files"}) & set(CATALOGUE)
    assert {"agent_health", "agent_target"} <= set(found)


@pytest.fixture
def capped(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """A metric with a cap, whichever the catalogue has."""
    metric = replace(CATALOGUE["table_stats"], at_most=1000)
    monkeypatch.setitem(CATALOGUE, metric.name, metric)
    return metric


def test_a_preset_multiplies_caps_up_to_the_bound_and_a_document_overrides_them(
    capped: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Document().at_most("table_stats") == 1000
    assert Document(preset="exhaustive").at_most("table_stats") == 10_000
    said = {capped.name: MetricSettings(at_most=7)}
    assert Document(preset="exhaustive", metrics=said).at_most("table_stats") == 7
    assert Document(preset="exhaustive").at_most("host_cpu") is None
    monkeypatch.setitem(CATALOGUE, capped.name, replace(capped, at_most=MOST_ROWS // 2))
    assert Document(preset="exhaustive").at_most("table_stats") == MOST_ROWS
