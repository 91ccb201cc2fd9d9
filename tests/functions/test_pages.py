from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime

from functions.pages import Bigint, CursorError, Oid, Text, decode, encode

TYPES = (AwareDatetime, Oid, Text, Bigint)


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.integers(0, 2**32 - 1),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.integers(-(2**63), 2**63 - 1),
)
def test_a_key_comes_back_from_its_cursor(at: datetime, oid: int, text: str, number: int) -> None:
    key = (at, oid, text, number)
    assert decode(encode(key), *TYPES) == key


@pytest.mark.parametrize(
    ("cursor", "types"),
    [
        ("%", (Text,)),
        ("é", (Text,)),
        ("a", (Text,)),
        ("", (Text,)),
        (_cursor("{"), (Text,)),
        (_cursor('"x"'), (Text,)),
        (_cursor("[]"), (Text,)),
        (_cursor('["x","y"]'), (Text,)),
        (_cursor("[1]"), (Text,)),
        (_cursor('["\\u0000"]'), (Text,)),
        (_cursor('["\\ud800"]'), (Text,)),
        (_cursor('["1"]'), (Bigint,)),
        (_cursor("[1.5]"), (Bigint,)),
        (_cursor("[true]"), (Bigint,)),
        (_cursor(f"[{2**63}]"), (Bigint,)),
        (_cursor("[-1]"), (Oid,)),
        (_cursor('["yesterday"]'), (AwareDatetime,)),
        (_cursor('["2026-01-01T00:00:00"]'), (AwareDatetime,)),
    ],
)
def test_what_is_no_cursor_of_this_route_is_refused(cursor: str, types: tuple[Any, ...]) -> None:
    with pytest.raises(CursorError, match="not one that this route gave"):
        decode(cursor, *types)


@given(st.text(max_size=100))
def test_anything_else_is_refused_and_never_an_error_of_ours(cursor: str) -> None:
    with pytest.raises(CursorError):
        decode(cursor, *TYPES)
