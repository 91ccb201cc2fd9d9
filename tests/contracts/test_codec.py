"""Whatever bytes come, decoding gives a batch or a BatchError, in little memory."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from contracts.batch import Batch
from contracts.codec import BatchError, BatchInvalidError, BatchTooLargeError, decode, encode, inflate, sha256
from contracts.limits import MAX_COMPRESSED_BYTES, MAX_INFLATED_BYTES
from tests.contracts.examples import VALID, batch, gzipped, relation, run

_ROOT = Path(__file__).parents[2]
_VALID = gzipped(VALID)


def _bomb(size: int) -> bytes:
    """A gzip member of this many zeros, made without holding them."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    piece = bytes(1_000_000)
    parts = [deflater.compress(piece) for _ in range(size // len(piece))]
    return b"".join([*parts, deflater.compress(bytes(size % len(piece))), deflater.flush()])


def test_what_inflates_to_the_limit_is_taken() -> None:
    assert len(inflate(_bomb(MAX_INFLATED_BYTES))) == MAX_INFLATED_BYTES


def test_one_byte_beyond_the_limit_is_refused() -> None:
    with pytest.raises(BatchTooLargeError, match="more than 50000000 bytes inflated"):
        decode(_bomb(MAX_INFLATED_BYTES + 1))


def test_a_bomb_stops_at_the_limit() -> None:
    bomb = _bomb(800_000_000)
    assert len(bomb) < MAX_COMPRESSED_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(BatchTooLargeError):
            decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * MAX_INFLATED_BYTES


def test_more_compressed_bytes_than_the_limit_are_refused_unread() -> None:
    with pytest.raises(BatchTooLargeError, match="4000001 bytes compressed, more than 4000000"):
        decode(bytes(MAX_COMPRESSED_BYTES + 1))


@pytest.mark.parametrize("kept", [0, 1, 9, 10, 18, len(_VALID) // 2, len(_VALID) - 8, len(_VALID) - 1])
def test_a_truncated_batch_is_refused(kept: int) -> None:
    with pytest.raises(BatchError, match="not gzip"):
        decode(_VALID[:kept])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(BatchError, match="3 bytes after the end"):
        decode(_VALID + b"\0\0\0")


def test_two_members_are_refused() -> None:
    with pytest.raises(BatchError, match="bytes after the end"):
        decode(_VALID + gzip.compress(b""))


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(BatchError, match="not gzip"):
        decode(_VALID[:-8] + bytes([_VALID[-8] ^ 1]) + _VALID[-7:])


@pytest.mark.parametrize(
    "data", [b"{}", zlib.compress(b"{}"), b"\x1f\x8b", b"PK\x03\x04" + bytes(40)], ids=["JSON", "zlib", "magic", "zip"]
)
def test_what_is_not_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(BatchError, match="not gzip"):
        decode(data)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"batch",
        b"{} {}",
        b"{'seq': 1}",
        b'{"seq": NaN}',
        b'{"seq": Infinity}',
        b'{"seq": -Infinity}',
        b'{"agent_id": "\xff"}',
        b'{"agent_id": "\\ud800"}',
        b'{"seq": ' + b"9" * 5000 + b"}",
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        "{}".encode("utf-16"),
    ],
    ids=lambda content: ascii(content[:20]),
)
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(BatchError, match="not JSON"):
        decode(gzipped(content))


@pytest.mark.parametrize("content", [b"null", b"1", b"[]", b'"batch"', b"{}", b"[" * 150 + b"]" * 150])
def test_json_that_is_no_batch_is_refused(content: bytes) -> None:
    with pytest.raises(BatchInvalidError):
        decode(gzipped(content))


def _decodes_or_is_refused(data: bytes) -> None:
    with contextlib.suppress(BatchError):
        assert isinstance(decode(data), Batch)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused_and_nothing_worse(data: bytes) -> None:
    _decodes_or_is_refused(data)
    _decodes_or_is_refused(_VALID[:10] + data)
    _decodes_or_is_refused(gzipped(data))


@given(st.lists(st.tuples(st.integers(0, len(_VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_a_batch_damaged_on_its_way_is_refused_and_nothing_worse(damage: list[tuple[int, int]]) -> None:
    data = bytearray(_VALID)
    for place, value in damage:
        data[place] = value
    _decodes_or_is_refused(bytes(data))


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_batch_with_damaged_json_is_refused_and_nothing_worse(data: st.DataObject) -> None:
    content = bytearray(inflate(_VALID))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 4)))
        content[start:end] = data.draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
    _decodes_or_is_refused(gzipped(bytes(content)))


_PIECES = (b"null", b"true", b"-1", b"1e999", b"9" * 30, b'"\\u0000"', b"[]", b"{}", b",", b'"', b"[[", b"\\ud83d")


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(of: Any) -> list[tuple[Any, Any]]:
    """Each container of a document, with each of its keys or indexes."""
    parts = list(of.items()) if isinstance(of, dict) else list(enumerate(of)) if isinstance(of, list) else []
    return [(of, part) for part, _ in parts] + [place for _, inner in parts for place in _places(inner)]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_batch_with_a_part_replaced_is_refused_and_nothing_worse(data: st.DataObject) -> None:
    document = copy.deepcopy(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        container, part = data.draw(st.sampled_from(_places(document)))
        if data.draw(st.booleans()):
            container[part] = data.draw(_values)
        else:
            del container[part]
    _decodes_or_is_refused(gzipped(document))


@pytest.mark.parametrize("text", ['":', 'a":1,"b":', "\\", '\\":', '"', ' " :', '{"a":1}', "a\\"], ids=ascii)
def test_a_text_that_looks_like_keys_is_a_text(text: str) -> None:
    document = batch(relation({"relid": [1, 2], "owner": [text, text]}), runs=[run(detail=text)])
    assert decode(gzipped(document)).frames[0].columns["owner"] == [text, text]


def test_blanks_and_escapes_are_as_good_as_none() -> None:
    content = json.dumps(VALID, indent=1, separators=(" ,", " \t\r\n: ")).replace('"seq"', '"s\\u0065\\u0071"')
    assert decode(gzipped(content.encode())) == decode(_VALID)


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (b'{"frames":[' + b"[]," * 16_000_000 + b"[]]}", "objects and arrays"),
        (b'{"runs":[' + b"1.5," * 12_000_000 + b"1]}", "Field required"),
        (b'{"frames":["' + "é".encode() * 24_000_000 + b'"]}', "Field required"),
        (b'{"frames":[' + b'{"metric":0},' * 400_000 + b"{}]}", "Field required"),
        (b"{" + b'"a":1,' * 8_000_000 + b'"a":1}', "Field required"),
    ],
    ids=["arrays", "numbers", "text", "frames", "keys"],
)
def test_a_refusal_takes_no_more_memory_than_a_function_has(content: bytes, limit: str, tmp_path: Path) -> None:
    file = tmp_path / "batch"
    file.write_bytes(isal_zlib.compress(content, 1, 31))
    # In a process of its own, for whom more than that is an error; 1 GB is what the door is given.
    script = (
        "import resource, sys, pathlib; from contracts.codec import BatchError, decode\n"
        "resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\n"
        "try: decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "except BatchError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=False, cwd=_ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert limit in done.stdout


def test_the_bytes_do_not_depend_on_when_they_were_made() -> None:
    data = encode(decode(_VALID))
    assert data[4:8] == bytes(4)  # MTIME of the gzip header (RFC 1952)
    assert sha256(data) == sha256(encode(decode(data)))
