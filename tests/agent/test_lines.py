"""Lines of COPY become the values that PostgreSQL meant, and what a frame cannot hold becomes null."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.lines import ShapeError, columns_of, key_of, keys_of
from contracts.batch import Frame
from contracts.metrics import DATABASE_STATS, Metric, Scope, Type
from contracts.metrics.model import gauge, instant, label
from infra.standalone.embedded import EmbeddedPostgres
from tests.contracts.strategies import texts

METRIC = Metric(
    "of_a_test",
    Scope.CLUSTER,
    "One column of each type, two of them the key.",
    ("relid", "name"),
    (
        label("relid", "An oid.", type=Type.OID),
        label("name", "A text."),
        gauge("size_bytes", "A number."),
        gauge("share", "A float.", type=Type.FLOAT),
        gauge("valid", "A boolean.", type=Type.BOOLEAN),
        instant("seen_at", "An instant."),
    ),
    60,
)


def _one(column: str, value: bytes) -> Any:
    cells = dict.fromkeys(METRIC.names, b"\\N") | {column: value}
    (found,) = columns_of(METRIC, [b"\t".join(cells.values())])[column]
    return found


def test_a_line_becomes_one_row_of_typed_values() -> None:
    columns = columns_of(METRIC, [b"4294967295\tpublic\t-9223372036854775808\t0.5\tt\t2025-10-09 08:53:20.000001+00"])
    assert columns == {
        "relid": [2**32 - 1],
        "name": ["public"],
        "size_bytes": [-(2**63)],
        "share": [0.5],
        "valid": [True],
        "seen_at": [1_760_000_000_000_001],
    }


def test_no_lines_become_empty_columns() -> None:
    assert columns_of(METRIC, []) == {name: [] for name in METRIC.names}


@pytest.mark.parametrize("column", METRIC.names)
def test_a_null_is_not_known_in_every_type(column: str) -> None:
    assert _one(column, b"\\N") is None


@pytest.mark.parametrize(
    ("copied", "text"),
    [
        (b"", ""),
        (b"\\\\N", "\\N"),
        (b"N", "N"),
        (b"a\\tb", "a\tb"),
        (b"a\\nb\\r\\b\\f\\v", "a\nb\r\b\f\v"),
        (b"a\\\\tb", "a\\tb"),
        (b"\\\\\\\\", "\\\\"),
        (b"\\\\\\n", "\\\n"),
        ("Zürich \U0001f418".encode(), "Zürich \U0001f418"),
        (b"caf\xe9", "caf�"),
    ],
)
def test_escapes_become_characters(copied: bytes, text: str) -> None:
    assert _one("name", copied) == text


@pytest.mark.parametrize(("copied", "value"), [(b"t", True), (b"f", False)])
def test_booleans_are_t_and_f(copied: bytes, value: bool) -> None:
    assert _one("valid", copied) is value


@pytest.mark.parametrize(
    ("copied", "value"),
    [
        (b"1970-01-01 00:00:00+00", 0),
        (b"1970-01-01 00:00:00.1+00", 100_000),
        (b"2025-10-09 08:53:20+00", 1_760_000_000_000_000),
        (b"2025-10-09 10:53:20+02", 1_760_000_000_000_000),
        (b"2025-10-09 14:23:20+05:30", 1_760_000_000_000_000),
        (b"2025-10-09 04:23:20-04:30", 1_760_000_000_000_000),
        (b"2025-10-09 09:46:48+00:53:28", 1_760_000_000_000_000),
        (b"9999-12-31 23:59:59.999999+00", 253_402_300_799_999_999),
    ],
)
def test_instants_are_microseconds_since_1970(copied: bytes, value: int) -> None:
    assert _one("seen_at", copied) == value


@pytest.mark.parametrize(
    "copied",
    [
        b"infinity",
        b"-infinity",
        b"1969-12-31 23:59:59.999999+00",
        b"1970-01-01 00:00:00+01",
        b"0001-01-01 00:00:00+00",
        b"0044-03-15 12:00:00+00 BC",
        b"10000-01-01 00:00:00+00",
        b"294276-12-31 23:59:59.999999+00",
        b"9999-12-31 23:59:59-01",
    ],
)
def test_an_instant_that_a_frame_cannot_hold_is_not_known(copied: bytes) -> None:
    assert _one("seen_at", copied) is None


@pytest.mark.parametrize("copied", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_float_that_json_cannot_say_is_not_known(copied: bytes) -> None:
    assert _one("share", copied) is None


@pytest.mark.parametrize("values", [0, 5, 7])
def test_another_number_of_values_is_refused(values: int) -> None:
    good = b"1\ta\t1\t1\tt\tinfinity"
    with pytest.raises(ShapeError, match=f"of_a_test: {6 + max(values, 1)} values in 2 rows, 6 declared for each"):
        columns_of(METRIC, [good, b"\t".join([b"1"] * values)])


@pytest.mark.parametrize("value", [b"1.5", b"NaN", b"1e3", b"t", b""])
def test_what_is_no_integer_is_not_taken_for_one(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"integer|JSON|expected"):
        _one("size_bytes", value)


def test_a_key_is_cut_from_its_line_whatever_is_in_it() -> None:
    line = b"7\ta\\tb\\\\\t1\t1\tt\tinfinity"
    key = key_of(METRIC)(line)
    assert key == b"7\ta\\tb\\\\"
    assert keys_of(METRIC, [key, b"8\t"]) == {"relid": [7, 8], "name": ["a\tb\\", ""]}


def test_a_key_of_one_column_is_the_lines_beginning() -> None:
    single = Metric("of_a_test", Scope.CLUSTER, "A test's.", ("relid",), METRIC.columns, 60)
    assert key_of(single)(b"7\ta\t1\t1\tt\tinfinity") == b"7"


rows = st.tuples(
    st.integers(0, 2**32 - 1),
    st.none() | texts | st.sampled_from(["\\N", "\\", "\\.", "\t", "\n", "\r\n"]),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["infinity", "2025-10-09 08:53:20.5+00", "0044-03-15 BC", "20000-01-01", "1969-01-01"]),
)


@given(st.lists(rows, min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_what_postgresql_copies_is_read_as_it_was(server: EmbeddedPostgres, found: list[tuple[Any, ...]]) -> None:
    with psycopg.connect(server.dsn(), options="-c timezone=UTC -c datestyle=ISO") as connection:
        lines = _copied(connection, found)
        ((expected, instants),) = connection.execute(
            "select array_agg(v order by n), array_agg(case when v::timestamptz between '1970-01-01' and '9999-12-31'"
            " then (extract(epoch from v::timestamptz) * 1000000)::bigint end order by n)"
            " from unnest(%s::text[]) with ordinality as u (v, n)",
            ([row[5] for row in found],),
        ).fetchall()
    assert expected == [row[5] for row in found]
    columns = columns_of(METRIC, lines)
    assert columns["relid"] == [row[0] for row in found]
    assert columns["name"] == [row[1] for row in found]
    assert columns["size_bytes"] == [row[2] for row in found]
    assert columns["share"] == [row[3] if row[3] is not None and row[3] - row[3] == 0 else None for row in found]
    assert columns["valid"] == [row[4] for row in found]
    assert columns["seen_at"] == instants


def _copied(connection: psycopg.Connection[Any], found: list[tuple[Any, ...]]) -> list[bytes]:
    arrays = [list(array) for array in zip(*found, strict=True)]
    statement = (
        "copy (select r, t, b, f, v, s from unnest(%s::oid[], %s::text[], %s::bigint[], %s::float8[], %s::boolean[],"
        " %s::timestamptz[]) with ordinality as u (r, t, b, f, v, s, n) order by n) to stdout"
    )
    with psycopg.ClientCursor(connection) as cursor, cursor.copy(statement, arrays) as copy:
        return [bytes(line)[:-1] for line in copy]


@given(st.lists(texts | st.sampled_from(["\\N", "\\.", "\r\n"]), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_random_texts_survive_copy(server: EmbeddedPostgres, found: list[str]) -> None:
    with psycopg.connect(server.dsn()) as connection:
        lines = _copied(connection, [(0, text, 0, 0.0, True, None) for text in found])
    assert columns_of(METRIC, lines)["name"] == found


def test_what_lines_become_is_a_frame() -> None:
    """The agent does not check what it made of lines: what they become must be right from the start."""
    line = b"\t".join([b"5", *[b"\\N"] * 28])
    columns = columns_of(DATABASE_STATS, [line])
    assert Frame(metric="database_stats", target="main", collected_at=1, epoch=1, columns=columns).rows == 1
