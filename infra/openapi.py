"""The one OpenAPI document of the HTTP API, from the parts that the functions declare.

Usage: python -m infra.openapi > functions/query/openapi.json
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import content_types

from contracts.limits import BIGINT_MAX
from contracts.routes import ROUTES, Route
from contracts.version import __version__
from functions.authorizer.door import api as identity
from functions.config.handler import api as config
from functions.http import PROBLEM, HttpApi, Problem
from functions.ingest.door import api as door
from functions.query.handler import api as query

PARTS: tuple[HttpApi, ...] = (door, config, query, identity)

_SCHEME = "token"

#: What the gateway says itself of a token or of the rate, as API Gateway does: it is about no request's content.
_MESSAGE = "Message"
_MESSAGE_SCHEMA = {
    "description": "What the gateway answers in the place of a function.",
    "properties": {"message": {"title": "Message", "type": "string"}},
    "required": ["message"],
    "title": _MESSAGE,
    "type": "object",
}

#: What Powertools answers to what is not valid; we answer problem details.
_POWERTOOLS = {"HTTPValidationError", "ValidationError", "ResponseValidationError"}


def document() -> dict[str, Any]:
    """The document: every route with everything it can answer, and who may call it."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {Problem.__name__: Problem.model_json_schema(), _MESSAGE: _MESSAGE_SCHEMA}
    for part in PARTS:
        found = json.loads(part.get_openapi_json_schema(title="pgAnalytics", version=__version__))
        for path, operations in found["paths"].items():
            paths.setdefault(path, {}).update(operations)
        schemas.update(found["components"]["schemas"])
    for route in ROUTES:
        _complete(paths[route.path][route.method.lower()], route)
    _restore_bounds([paths, schemas])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pgAnalytics",
            "version": __version__,
            "description": "Agents upload batches and pull their configuration; operators read what was collected.",
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {name: schemas[name] for name in sorted(schemas.keys() - _POWERTOOLS)},
            "securitySchemes": {
                _SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "HS256; agents and operators have audiences of their own.",
                }
            },
        },
    }


def _complete(operation: dict[str, Any], route: Route) -> None:
    """What the functions themselves cannot say: who may call, and what the gateway answers in their place."""
    operation["operationId"] = _operation_id(route)
    answers = operation["responses"]
    for status in [status for status, answer in answers.items() if _is_powertools(answer)]:
        del answers[status]
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
    statuses = [
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ]
    of_the_gateway = [HTTPStatus.TOO_MANY_REQUESTS]
    if "requestBody" in operation:
        statuses += [HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE]
    if route.audience is not None:
        of_the_gateway += [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN]
        operation["security"] = [{_SCHEME: []}]
        operation["x-audience"] = str(route.audience)
        if route.role is not None:
            operation["x-role"] = route.role.name.lower()
    else:
        operation["security"] = []
    for status in (*statuses, *of_the_gateway):
        content = {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
        if status in of_the_gateway:
            content[content_types.APPLICATION_JSON] = {"schema": {"$ref": f"#/components/schemas/{_MESSAGE}"}}
        answers.setdefault(str(int(status)), {"description": status.phrase})["content"] = content
    operation["responses"] = dict(sorted(answers.items()))


def _is_powertools(answer: dict[str, Any]) -> bool:
    schemas = [content.get("schema", {}) for content in answer.get("content", {}).values()]
    return any(str(schema.get("$ref", "")).rpartition("/")[2] in _POWERTOOLS for schema in schemas)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not one that may be null: there is no null in a URL."""
    kept = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(kept) != 1:
        return schema
    return {**kept[0], **{name: value for name, value in schema.items() if name != "anyOf"}}


def _restore_bounds(found: object) -> None:
    """Bounds of whole numbers as the contracts have them: Powertools has floats, which round up the largest."""
    if isinstance(found, dict):
        if found.get("type") == "integer":
            found |= {name: min(int(found[name]), BIGINT_MAX) for name in ("minimum", "maximum") if name in found}
        found = list(found.values())
    if isinstance(found, list):
        for each in found:
            _restore_bounds(each)


def _operation_id(route: Route) -> str:
    words = [part.strip("{}").removesuffix(".json") for part in route.path.split("/")[2:]]
    return "_".join([route.method.lower(), *words])


def text() -> str:
    """The document as the file has it."""
    return json.dumps(document(), indent=2) + "\n"


def main() -> None:
    sys.stdout.write(text())


if __name__ == "__main__":
    main()
