"""A valid batch as a document, and every kind of fault that one may have, with the place that is at fault."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

_HEADER: Document = {
    "schema": 1,
    "agent_id": "db-117",
    "stream_id": "3f2a5f64-5717-4562-b3fc-2c963f66afa6",
    "seq": 7,
    "sent_at": 1_760_000_000_000_000,
    "agent_version": "0.1.0",
}


def batch(*frames: Document, **header: Any) -> Document:
    """A batch of these frames; other values for the header by name."""
    return {**_HEADER, "frames": list(frames), **header}


def frame(columns: Document, **more: Any) -> Document:
    """A frame of the metric database_stats, of scope cluster; other values by name, None leaves one out."""
    found = {
        "metric": "database_stats",
        "target": "main",
        "collected_at": 1_760_000_000_000_000,
        "epoch": -5,
        "columns": columns,
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def host(columns: Document, **more: Any) -> Document:
    """A frame of the metric host_load."""
    return frame(columns, **{"metric": "host_load", "target": "host", "epoch": None, **more})


def table(columns: Document, **more: Any) -> Document:
    """A frame of the metric table_stats, of scope database."""
    return frame(columns, **{"metric": "table_stats", "datid": 5, **more})


def relation(columns: Document, **more: Any) -> Document:
    """A frame of the metric relation: text columns, no counters."""
    return frame(columns, **{"metric": "relation", "datid": 5, "epoch": None, **more})


def run(**more: Any) -> Document:
    return {
        "collector": "database_stats",
        "target": "main",
        "started_at": 1_760_000_000_000_000,
        "duration_us": 1200,
        "status": "ok",
        **more,
    }


def gap(**more: Any) -> Document:
    return {"reason": "spool_full", "from_at": 1, "until_at": 2, **more}


def gzipped(document: object) -> bytes:
    """The document as it might come over the wire, whether or not it is a batch."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return gzip.compress(content, mtime=0)


VALID = batch(
    frame({"datid": [0, 16384], "xact_commit": [None, 12]}, mode="changed", gone={"datid": [5]}),
    host({"load_1m": [0.25], "threads": [None]}),
    table({"relid": [1, 2], "seq_scan": [3, 2**63 - 1], "last_vacuum_at": [0, None]}),
    relation({"relid": [1], "relation_name": ["Zürich \U0001f418\n\t\\N"], "is_valid": [True]}),
    runs=[run(), run(status="timeout", sqlstate="57014", rows_available=3, detail="canceling statement")],
    gaps=[gap(target="main", collector="log_event", batches=3)],
    config={"version": 3, "etag": '"abc"', "state": "applied"},
    clock={"skew_us": -12},
)


@dataclass(frozen=True)
class Fault:
    """A batch at fault. `message` is how the refusal begins; `in_schema`: JSON Schema can say it, too."""

    name: str
    document: Document
    message: str
    in_schema: bool = True

    def __str__(self) -> str:
        return self.name


def _framed(name: str, at_fault: Document, message: str, in_schema: bool = True) -> Fault:
    return Fault(name, batch(host({"load_1m": [1]}), at_fault), f"frames[1]: {message}", in_schema)


def _headed(name: str, message: str, **header: Any) -> Fault:
    return Fault(name, batch(**header), message)


_CATALOGUE_FAULTS = (
    _framed("unknown metric", frame({"datid": [1]}, metric="nonesuch"), "unknown metric 'nonesuch'"),
    _framed("unknown column", frame({"datid": [1], "oops": [1]}), "columns.oops: database_stats has no such column"),
    _framed("other length", frame({"datid": [1, 2], "conflicts": [1]}), "columns.conflicts: 1 values where", False),
    _framed("missing key", frame({"conflicts": [1]}), "columns.datid: a key of database_stats is missing"),
    _framed("no column", host({}), "columns: at least one column is needed"),
    _framed("null key", frame({"datid": [1, None]}), "columns.datid: a key cannot be null (row 1)"),
    _framed("a key twice", frame({"datid": [1, 2, 1]}), "columns.datid[2]: a second row with the key 1", False),
    _framed(
        "a key of two columns twice",
        frame({"blocked_pid": [1, 1, 1], "blocking_pid": [2, 3, 2]}, metric="blocking", epoch=None),
        "columns.blocked_pid[2]: a second row with the key (1, 2)",
        False,
    ),
    _framed(
        "a key gone twice", frame({"datid": [1]}, mode="changed", gone={"datid": [2, 2]}), "gone.datid[1]: a se", False
    ),
    _framed("text for a number", frame({"datid": [1], "conflicts": ["1"]}), "columns.conflicts[0]: bigint expected"),
    _framed("number for a text", relation({"relid": [1], "kind": [1]}), "columns.kind[0]: text expected, int found"),
    _framed("number for a boolean", relation({"relid": [1], "is_valid": [1]}), "columns.is_valid[0]: boolean expected"),
    _framed("boolean for a number", frame({"datid": [1], "conflicts": [True]}), "columns.conflicts[0]: bigint exp"),
    _framed("boolean for a float", host({"load_1m": [True]}), "columns.load_1m[0]: double precision expected, bool"),
    _framed("float for a number", frame({"datid": [1], "conflicts": [1.5]}), "columns.conflicts[0]: bigint expected"),
    _framed("whole float", frame({"datid": [1], "conflicts": [1.0]}), "columns.conflicts[0]: bigint expected", False),
    _framed("list for a value", host({"load_1m": [[1]]}), "columns.load_1m[0]: double precision expected, list found"),
    _framed("beyond bigint", frame({"datid": [1, 2], "conflicts": [None, 2**63]}), "columns.conflicts[1]: 9223"),
    _framed("below bigint", frame({"datid": [1], "conflicts": [-(2**63) - 1]}), "columns.conflicts[0]: -9223"),
    _framed("negative oid", frame({"datid": [-1]}), "columns.datid[0]: -1 is outside oid"),
    _framed("beyond oid", frame({"datid": [2**32]}), "columns.datid[0]: 4294967296 is outside oid"),
    _framed("instant before 1970", table({"relid": [1], "last_vacuum_at": [-1]}), "columns.last_vacuum_at[0]: -1 is"),
    _framed("instant after 9999", table({"relid": [1], "last_vacuum_at": [253_402_300_800_000_000]}), "columns.last_v"),
    _framed("beyond a float", host({"load_1m": [10**400]}), "columns.load_1m[0]: not a finite number"),
    _framed("NUL in a text", relation({"relid": [1], "owner": ["a\0b"]}), "columns.owner[0]: text with a NUL"),
    _framed("two rows without a key", host({"load_1m": [1, 2]}), "columns: host_load has one row"),
    _framed("host metric of a server", host({"load_1m": [1]}, target="main"), "target: host_load is of scope host"),
    _framed("server metric of the host", frame({"datid": [1]}, target="host"), "target: database_stats is of scope"),
    _framed("datid on a host", host({"load_1m": [1]}, datid=5), "datid: metrics of scope database have one"),
    _framed("datid on a cluster", frame({"datid": [1]}, datid=5), "datid: metrics of scope database have one"),
    _framed("datid missing", table({"relid": [1]}, datid=None), "datid: metrics of scope database have one"),
    _framed("epoch missing", frame({"datid": [1]}, epoch=None), "epoch: metrics with counters have one"),
    _framed("epoch without counters", host({"load_1m": [1]}, epoch=1), "epoch: metrics with counters have one"),
    _framed("changed, of what does not", host({"load_1m": [1]}, mode="changed"), "mode: host_load always travels"),
    _framed("gone in a full frame", frame({"datid": [1]}, gone={"datid": [2]}), "gone: only a changed frame has"),
    _framed("gone without its key", frame({"datid": [1]}, mode="changed", gone={}), "gone.datid: a key of"),
    _framed(
        "gone with a value", frame({"datid": [1]}, mode="changed", gone={"datid": [2], "conflicts": [1]}), "gone.c"
    ),
    _framed("gone with a null", frame({"datid": [1]}, mode="changed", gone={"datid": [None]}), "gone.datid: a key can"),
)

_HEADER_FAULTS = (
    _headed("unknown header field", "colour: Extra inputs", colour="red"),
    _headed("another schema", "schema: ", schema=2),
    _headed("boolean schema", "schema: ", schema=True),
    _headed("capitals in an agent's id", "agent_id: ", agent_id="DB-117"),
    _headed("slash in an agent's id", "agent_id: ", agent_id="a/b"),
    _headed("agent's id ends in a dot", "agent_id: ", agent_id="db."),
    _headed("agent's id of 65 characters", "agent_id: ", agent_id="a" * 65),
    _headed("stream without a UUID", "stream_id: ", stream_id="one"),
    _headed("negative seq", "seq: ", seq=-1),
    _headed("seq of 13 digits", "seq: ", seq=10**12),
    _headed("boolean seq", "seq: ", seq=True),
    _headed("text seq", "seq: ", seq="7"),
    _headed("no sent_at", "sent_at: ", sent_at=None),
    _headed("sent after 9999", "sent_at: ", sent_at=253_402_300_800_000_000),
    _headed("version with a blank", "agent_version: ", agent_version="0.1 beta"),
    _headed("unknown state of the configuration", "config.state: ", config={"state": "perhaps"}),
    _headed("NUL in the etag", "config.etag: ", config={"etag": "a\0b"}),
    _headed("NUL in the reason", "config.reason: ", config={"reason": "a\0b"}),
    _headed("skew beyond bigint", "clock.skew_us: ", clock={"skew_us": 2**63}),
    _headed("unknown status", "runs[1].status: ", runs=[run(), run(status="fine")]),
    _headed("short sqlstate", "runs[0].sqlstate: ", runs=[run(sqlstate="4250")]),
    _headed("negative duration", "runs[0].duration_us: ", runs=[run(duration_us=-1)]),
    _headed("float duration", "runs[0].duration_us: ", runs=[run(duration_us=1.5)]),
    _headed("detail of 1,001 characters", "runs[0].detail: ", runs=[run(detail="x" * 1001)]),
    _headed("collector with a blank", "runs[0].collector: ", runs=[run(collector="a b")]),
    _headed("unknown reason", "gaps[0].reason: ", gaps=[gap(reason="tired")]),
    _headed("unknown field of a gap", "gaps[0].colour: ", gaps=[gap(colour="red")]),
    _headed("frame without a metric", "frames[0].metric: ", frames=[{"target": "host"}]),
    _headed("frames that are no list", "frames: ", frames={}),
)

FAULTS: tuple[Fault, ...] = _CATALOGUE_FAULTS + _HEADER_FAULTS
