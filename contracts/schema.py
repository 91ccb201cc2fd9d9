"""JSON Schemas (draft 2020-12) of what agents send and of what they are given, from the models and the catalogue.

What they cannot say stands in their descriptions: that columns are of one length, that rows of all frames together
have a limit, and that 1.0 is no integer.
"""

from __future__ import annotations

import sys
from typing import Any

from contracts.batch import Batch, Mode
from contracts.document import VersionedDocument
from contracts.limits import BIGINT_MAX, BIGINT_MIN, INSTANT_MAX, MAX_ROWS, OID_MAX
from contracts.metrics import METRICS, Column, Metric, Scope, Type
from contracts.names import HOST_TARGET

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_VALUE: dict[Type, Schema] = {
    Type.BIGINT: {"type": "integer", "minimum": BIGINT_MIN, "maximum": BIGINT_MAX},
    Type.OID: {"type": "integer", "minimum": 0, "maximum": OID_MAX},
    Type.TIMESTAMP: {"type": "integer", "minimum": 0, "maximum": INSTANT_MAX},
    Type.FLOAT: {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max},
    Type.TEXT: {"type": "string", "pattern": r"^[^\x00]*$"},
    Type.BOOLEAN: {"type": "boolean"},
}

_NULL: Schema = {"type": "null"}


def batch_schema() -> Schema:
    """Of a batch, inflated; each metric's frames are placed as its scope says, and have its columns and no others."""
    schema = Batch.model_json_schema(by_alias=True)
    schema["properties"]["frames"]["description"] = f"At most {MAX_ROWS} rows together, keys that are gone included."
    frame = schema["$defs"]["Frame"]
    frame["properties"]["metric"] = {"enum": [metric.name for metric in METRICS]}
    frame["properties"]["columns"]["description"] = "Arrays of one length; instants are microseconds since 1970 UTC."
    frame["allOf"] = [
        {
            "if": {"properties": {"gone": {"type": "object"}}, "required": ["gone"]},
            "then": {"properties": {"mode": {"const": Mode.CHANGED}}, "required": ["mode"]},
        },
        *({"if": {"properties": {"metric": {"const": metric.name}}}, "then": _frame_of(metric)} for metric in METRICS),
    ]
    return {"$schema": _DIALECT, **schema}


def document_schema() -> Schema:
    """Of what `GET /v1/config` answers."""
    return {"$schema": _DIALECT, **VersionedDocument.model_json_schema()}


def _frame_of(metric: Metric) -> Schema:
    host: Schema = {"const": HOST_TARGET}
    of_database = metric.scope is Scope.DATABASE
    counts = bool(metric.counters)
    return {
        "description": metric.help,
        "properties": {
            "target": host if metric.scope is Scope.HOST else {"not": host},
            "datid": {"type": "integer" if of_database else "null"},
            "epoch": {"type": "integer" if counts else "null"},
            "mode": {"enum": list(Mode) if metric.changes else [Mode.FULL]},
            "columns": _columns(metric, metric.columns),
            "gone": {"anyOf": [_columns(metric, metric.columns[: len(metric.key)]), _NULL]}
            if metric.changes
            else _NULL,
        },
        "required": ["datid"] * of_database + ["epoch"] * counts,
    }


def _columns(metric: Metric, columns: tuple[Column, ...]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "required": list(metric.key),
        "properties": {column.name: _array(metric, column) for column in columns},
    }


def _array(metric: Metric, column: Column) -> Schema:
    unit = f" ({column.unit})" if column.unit not in {"", "1"} else ""
    value = _VALUE[column.type]
    return {
        "type": "array",
        "description": f"{column.help}{unit}",
        "items": value if column.name in metric.key else {**value, "type": [value["type"], "null"]},
        **({} if metric.key else {"maxItems": 1}),
    }
