"""`GET /v1/config`: the configuration document that the calling agent is to obey."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response, content_types
from pydantic import SecretStr

from contracts.document import VersionedDocument
from functions.config.documents import answer, matches, newest
from functions.environment import Environment, read
from functions.http import HttpApi, answers, calling_agent
from functions.store import Store


class ConfigEnvironment(Environment):
    store_dsn: SecretStr


@functools.cache
def _store() -> Store:
    return Store(read(ConfigEnvironment).store_dsn, "pganalytics config")


api = HttpApi()


@api.get(
    "/v1/config",
    summary="The configuration to obey",
    description="With an ETag: send it back in If-None-Match, and an unchanged document is a 304 without a body.",
    tags=["agents"],
    responses={
        **answers(VersionedDocument, HTTPStatus.SERVICE_UNAVAILABLE),
        304: {"description": "The caller has this version.", "content": {}},
    },
    openapi_extensions={
        "parameters": [
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "Entity tags of the versions that the caller has, or `*`.",
                "schema": {"type": "string"},
            }
        ]
    },
)
def get_config() -> Response[Any]:
    calling_agent(api)
    newest_answer = answer(newest(_store()))
    headers = {"ETag": newest_answer.etag, "Cache-Control": "no-cache"}
    if matches(api.current_event.headers.get("if-none-match"), newest_answer.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(
        status_code=HTTPStatus.OK,
        content_type=content_types.APPLICATION_JSON,
        headers=headers,
        body=newest_answer.body,
    )


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
