"""JSON Schemas (draft 2020-12) of what agents send and of what they are given, from the models and the catalogue."""

from __future__ import annotations

from typing import Any

from contracts.batch import Batch
from contracts.document import VersionedDocument
from contracts.limits import BIGINT_MAX, BIGINT_MIN, INSTANT_MAX, OID_MAX
from contracts.metrics import METRICS, Column, Metric, Type

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_VALUE: dict[Type, dict[str, Any]] = {
    Type.BIGINT: {"type": ["integer", "null"], "minimum": BIGINT_MIN, "maximum": BIGINT_MAX},
    Type.OID: {"type": ["integer", "null"], "minimum": 0, "maximum": OID_MAX},
    Type.TIMESTAMP: {"type": ["integer", "null"], "minimum": 0, "maximum": INSTANT_MAX},
    Type.FLOAT: {"type": ["number", "null"]},
    Type.TEXT: {"type": ["string", "null"]},
    Type.BOOLEAN: {"type": ["boolean", "null"]},
}


def batch_schema() -> dict[str, Any]:
    """Of a batch, inflated; each metric's frames have that metric's columns and no others."""
    schema = Batch.model_json_schema(by_alias=True)
    schema["$defs"]["Frame"]["allOf"] = [
        {
            "if": {"properties": {"metric": {"const": metric.name}}},
            "then": {
                "description": metric.help,
                "properties": {
                    "columns": _columns(metric, metric.columns),
                    "gone": {"anyOf": [_columns(metric, metric.columns[: len(metric.key)]), {"type": "null"}]},
                },
            },
        }
        for metric in METRICS
    ]
    schema["$defs"]["Frame"]["properties"]["metric"] = {"enum": [metric.name for metric in METRICS]}
    return {"$schema": _DIALECT, **schema}


def document_schema() -> dict[str, Any]:
    """Of what `GET /v1/config` answers."""
    return {"$schema": _DIALECT, **VersionedDocument.model_json_schema()}


def _columns(metric: Metric, columns: tuple[Column, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "required": list(metric.key),
        "properties": {column.name: _array(column) for column in columns},
    }


def _array(column: Column) -> dict[str, Any]:
    unit = f" ({column.unit})" if column.unit not in {"", "1"} else ""
    return {"type": "array", "description": f"{column.help}{unit}", "items": _VALUE[column.type]}
