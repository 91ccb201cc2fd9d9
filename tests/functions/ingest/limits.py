"""What strangers may send in the place of a batch, and how each is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from isal import isal_zlib

from contracts.limits import MAX_COMPRESSED_BYTES, MAX_ROWS, MAX_RUNS
from tests.contracts.examples import FAULTS, VALID, Document, batch, frame, gap, gzipped, host, relation, run, table

#: Whose batches these are.
AGENT = "db-117"

_YEAR_US = 365 * 86_400_000_000


@dataclass(frozen=True)
class Limit:
    """A body, made when it is needed, the door's status, and a part of the reason; past the door it may be another."""

    name: str
    make: Callable[[], bytes]
    status: int
    message: str
    past: str | None = None

    def __str__(self) -> str:
        return self.name


def quickly(content: bytes) -> bytes:
    """Gzip of what is large."""
    return bytes(isal_zlib.compress(content, 1, 31))


def bomb(megabytes: int) -> bytes:
    """A gzip member of so many zeros, as one block again and again; its end is missing, which nobody is to reach."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = deflater.compress(b"") + deflater.flush(zlib.Z_FULL_FLUSH)
    block = deflater.compress(bytes(10_000_000)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return head + block * (megabytes // 10)


def _written(document: Document, old: str, new: str) -> bytes:
    """The document with a part of its text replaced by what json.dumps would not write."""
    text = json.dumps(document)
    assert text.count(old) == 1
    return gzipped(text.replace(old, new).encode())


def _repeated(part: bytes, times: int, field: bytes = b"frames") -> bytes:
    head = json.dumps(batch()).encode().replace(b'"frames": []', b'"%s": [' % field)
    return quickly(head[:-1] + (part + b",") * (times - 1) + part + b"]}")


def _one(name: str, document: Document, message: str, status: int = 422, past: str | None = None) -> Limit:
    return Limit(name, partial(gzipped, document), status, message, past)


def _text(name: str, old: str, new: str, status: int, message: str, document: Document = VALID) -> Limit:
    return Limit(name, partial(_written, document, old, new), status, message)


_GZIP = (
    Limit("nothing", bytes, 400, "the body is empty", "not gzip: the data ends too early"),
    Limit("no gzip", lambda: b"batch", 400, "not gzip"),
    Limit("a bomb of 3.6 GB", lambda: bomb(3600), 413, "more than 50000000 bytes inflated"),
    Limit("more bytes than may be", lambda: bytes(MAX_COMPRESSED_BYTES + 1), 413, "4000001 bytes compressed"),
    Limit("two members", lambda: gzipped(VALID) + gzip.compress(b"x", mtime=0), 400, "bytes after the end"),
    Limit("bytes after the end", lambda: gzipped(VALID) + b"\0", 400, "1 bytes after the end"),
    Limit("a truncated member", lambda: gzipped(VALID)[:-9], 400, "not gzip: the data ends too early"),
    Limit("a text of 50 MB", lambda: quickly(b'{"a":"' + b"a" * 50_000_000 + b'"}'), 413, "bytes inflated"),
)

_SIZE = (
    _one("a row too many", batch(table({"relid": list(range(MAX_ROWS + 1))})), "columns: 200001 rows, more than"),
    _one(
        "a key gone too many",
        batch(frame({"datid": []}, mode="changed", gone={"datid": list(range(MAX_ROWS + 1))})),
        "frames[0]: gone: 200001 rows, more than",
    ),
    _one("a row too many in two frames", batch(*[table({"relid": list(range(100_001))})] * 2), "frames: 200002 rows"),
    _one("frames of nothing", batch(*[host({"load_1m": []})] * (MAX_RUNS + 1)), "frames: "),
    _one("a run too many", batch(runs=[run()] * (MAX_RUNS + 1)), "runs: "),
    Limit("100,000 empty frames", lambda: _repeated(b"{}", 100_000), 422, "frames[0].metric: Field required"),
    Limit(
        "16 million empty frames", lambda: _repeated(b"{}", 16_000_000), 413, "objects and arrays, more than 1000000"
    ),
    Limit("12 million numbers for frames", lambda: _repeated(b"1.5", 12_000_000), 422, "frames[0]: "),
    _one("a million fields", batch(**{f"a{n}": 1 for n in range(300_000)}), "300007 fields, more than the 11 that"),
    _one(
        "many columns", batch(host({f"a{n}": [1] for n in range(100_000)})), "frames[0].columns: 100000 columns, more"
    ),
    Limit("a megabyte of arrays", lambda: gzipped(b"[" * 1_000_000), 400, "not JSON: recursion limit"),
    Limit("a megabyte of objects", lambda: gzipped(b'{"a":' * 1_000_000), 400, "not JSON: recursion limit"),
    Limit("deep, and JSON", lambda: gzipped(b"[" * 150 + b"]" * 150), 422, "Input should be"),
    _text("a number of a million digits", "0.25", "1" * 1_000_000, 400, "not JSON: number out of range"),
)

_JSON = (
    Limit("no JSON", lambda: gzipped(b"batch"), 400, "not JSON"),
    Limit("an array", lambda: gzipped(b"[]"), 422, "Input should be"),
    Limit("a number", lambda: gzipped(b"1"), 422, "Input should be"),
    Limit("null", lambda: gzipped(b"null"), 422, "Input should be"),
    _text("NaN", "0.25", "NaN", 400, "not JSON"),
    _text("Infinity", "0.25", "Infinity", 400, "not JSON"),
    _text("-Infinity", "0.25", "-Infinity", 400, "not JSON"),
    _text("a float beyond floats", "0.25", "1e999", 422, "frames[1]: columns.load_1m[0]: not a finite number"),
    _text("an integer beyond floats", "0.25", "1" * 400, 422, "frames[1]: columns.load_1m[0]: not a finite number"),
    _text("a lone surrogate in a column", "\\ud83d\\udc18", "\\ud83d", 400, "not JSON: "),
    _text("a lone surrogate in a detail", "canceling", "\\udc18", 400, "not JSON: "),
    Limit("bytes that are no UTF-8", lambda: gzipped(b'{"agent_id": "\xff"}'), 400, "not JSON: invalid unicode"),
    Limit("UTF-16", lambda: gzipped(json.dumps(VALID).encode("utf-16")), 400, "not JSON"),
)

_NUL = (
    _one(
        "NUL in a column", batch(relation({"relid": [1], "owner": ["a\0"]})), "frames[0]: columns.owner[0]: text with"
    ),
    _one("NUL in a run's detail", batch(runs=[run(detail="a\0")]), "runs[0].detail: "),
    _one("NUL in a gap's detail", batch(gaps=[gap(detail="a\0")]), "gaps[0].detail: "),
)

_TWICE = (
    _text("seq twice", '"seq": 7', '"seq": 7, "seq": 8', 422, "seq: this key stands twice"),
    _text("seq twice, once in escapes", '"seq": 7', '"seq": 7, "s\\u0065q" : 8', 422, "seq: this key stands twice"),
    _text(
        "an epoch twice", '"load_1m"', '"threads": [1], "load_1m"', 422, "frames[1].columns.threads: this key stands"
    ),
    _text(
        "a metric twice", '"metric": "relation"', '"metric": "x", "metric": "relation"', 422, "frames[3].metric: this"
    ),
    _text("a status twice", '"status": "timeout"', '"status":"ok","status":"timeout"', 422, "runs[1].status: this key"),
)

_SENT_AT = int(VALID["sent_at"])

_TIME = (
    _one("sent in a year", batch(sent_at=_SENT_AT + 10 * _YEAR_US), "sent_at: "),
    _one("read in a year", batch(host({"load_1m": [1]}, collected_at=_SENT_AT + _YEAR_US)), "frames[0].collected_at: "),
    _one("run in a year", batch(runs=[run(), run(started_at=_SENT_AT + _YEAR_US)]), "runs[1].started_at: "),
)

_PLACE = (
    _one("another's", batch(agent_id="db-118"), "agent_id: the batch is db-118's", 403, "the content belongs to"),
)

LIMITS: tuple[Limit, ...] = (
    *(*_GZIP, *_SIZE, *_JSON, *_NUL, *_TWICE, *_TIME, *_PLACE),
    *(_one(fault.name, fault.document, fault.message) for fault in FAULTS),
)
