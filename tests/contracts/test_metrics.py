"""What the catalogue promises of every metric, whoever adds one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from contracts.metrics import CATALOGUE, METRICS, Kind, Metric, Scope, Type
from contracts.metrics.model import counter, gauge, instant, label, unit_of

COLUMNS = [(metric, column) for metric in METRICS for column in metric.columns]

#: A place in a file counts bytes and is no size.
_BYTES_BUT_NO_SIZE = {("log_event", "position")}

every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def _places(wrong: Sequence[tuple[Metric, object]]) -> list[str]:
    return [f"{metric.name}: {column}" for metric, column in wrong]


def test_names_tell_metrics_apart() -> None:
    assert len(CATALOGUE) == len(METRICS)


@every_metric
def test_names_are_lower_case_identifiers_of_postgresql(metric: Metric) -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) for name in (metric.name, *metric.names))


@every_metric
def test_the_keys_columns_come_first(metric: Metric) -> None:
    assert metric.names[: len(metric.key)] == metric.key


@every_metric
def test_no_column_is_declared_twice_or_named_as_what_places_a_row(metric: Metric) -> None:
    names = [name for name, _ in metric.stored]
    assert len(set(names)) == len(names)
    assert not {"target_id", "collected_at", "epoch", "gone", "since_at", "fell"} & set(metric.names)


@every_metric
def test_a_key_is_a_label_or_a_place(metric: Metric) -> None:
    kinds = {metric.by_name[name].kind for name in metric.key}
    assert kinds <= {Kind.LABEL, Kind.GAUGE}
    assert all(metric.by_name[name].type in {Type.TEXT, Type.OID, Type.BIGINT, Type.BOOLEAN} for name in metric.key)


@every_metric
def test_what_travels_in_changes_has_a_key_that_tells_what_is_gone(metric: Metric) -> None:
    assert metric.key or not metric.changes


@every_metric
def test_resets_are_instants_of_a_metric_with_counters(metric: Metric) -> None:
    assert all(metric.by_name[name].kind is Kind.TIMESTAMP for name in metric.resets)
    assert metric.counters or not metric.resets


@every_metric
def test_intervals_are_seconds_up_to_a_day(metric: Metric) -> None:
    assert 1 <= metric.every_seconds <= 86_400


@every_metric
def test_helps_are_sentences(metric: Metric) -> None:
    helps = [metric.help, *(column.help for column in metric.columns)]
    assert all(each[0] == each[0].strip() and each.endswith((".", ")")) and "\n" not in each for each in helps)


@every_metric
def test_a_metric_with_datid_for_a_key_is_read_once_a_server(metric: Metric) -> None:
    assert "datid" not in metric.names or metric.scope is Scope.CLUSTER


def test_timestamps_are_instants_whose_names_end_in_at() -> None:
    wrong = [
        (metric, column.name)
        for metric, column in COLUMNS
        if len({column.kind is Kind.TIMESTAMP, column.type is Type.TIMESTAMP, column.name.endswith("_at")}) != 1
    ]
    assert _places(wrong) == []


def test_counters_are_bigint() -> None:
    wrong = [(m, column.name) for m, column in COLUMNS if column.kind is Kind.COUNTER and column.type != Type.BIGINT]
    assert _places(wrong) == []


@pytest.mark.parametrize(("ending", "unit"), [("_us", "microseconds"), ("_bytes", "bytes")])
def test_a_names_ending_is_its_unit(ending: str, unit: str) -> None:
    wrong = [
        (metric, column.name)
        for metric, column in COLUMNS
        if column.name.endswith(ending) != (column.unit == unit)
        and (metric.name, column.name) not in _BYTES_BUT_NO_SIZE
    ]
    assert _places(wrong) == []


def test_durations_and_sizes_are_whole_numbers_that_count_or_stand() -> None:
    wrong = [
        (metric, column.name)
        for metric, column in COLUMNS
        if column.unit in {"microseconds", "bytes"}
        and not (column.type is Type.BIGINT and column.kind in {Kind.COUNTER, Kind.GAUGE})
    ]
    assert _places(wrong) == []


def test_no_name_ends_in_a_unit_that_the_wire_does_not_know() -> None:
    endings = ("_ms", "_ns", "_seconds", "_secs", "_kb", "_mb", "_kib", "_mib", "_pct", "_percent", "_time")
    assert _places([(metric, column.name) for metric, column in COLUMNS if column.name.endswith(endings)]) == []


def test_labels_have_no_unit_and_numbers_have_one() -> None:
    wrong = [(m, column.name) for m, column in COLUMNS if (column.unit == "") != (column.kind is Kind.LABEL)]
    assert _places(wrong) == []


def test_the_tables_columns_begin_with_what_places_a_row() -> None:
    assert [name for name, _ in CATALOGUE["table_stats"].stored][:6] == [
        "target_id",
        "collected_at",
        "datid",
        "epoch",
        "gone",
        "relid",
    ]
    assert [name for name, _ in CATALOGUE["host_load"].stored][:3] == ["target_id", "collected_at", "load_1m"]


def test_a_column_declared_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="metric m: a column is declared twice"):
        Metric("m", Scope.HOST, "Of a test.", (), (gauge("a", "A."), gauge("a", "B.")), 60)


def test_a_key_that_does_not_come_first_is_refused() -> None:
    with pytest.raises(ValueError, match="metric m: the key's columns come first"):
        Metric("m", Scope.HOST, "Of a test.", ("b",), (gauge("a", "A."), label("b", "B.")), 60)


@pytest.mark.parametrize(("name", "unit"), [("wait_us", "microseconds"), ("size_bytes", "bytes"), ("bus", "1")])
def test_the_unit_comes_from_the_name(name: str, unit: str) -> None:
    assert unit_of(name) == counter(name, "Of a test.").unit == unit


def test_a_unit_may_be_said_where_the_name_does_not() -> None:
    assert counter("blks_hit", "Of a test.", unit="blocks").unit == "blocks"
    assert instant("seen_at", "Of a test.").unit == "UTC"
