"""`GET /v1/config`: the configuration that the calling agent is to obey."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import Router

from contracts.document import VersionedDocument
from functions.config.parts import store
from functions.config.polled import poll
from functions.http import answers, calling_agent

router = Router()  # type: ignore[no-untyped-call]


@router.get(
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
    polled = poll(store(), calling_agent(router), router.current_event.headers.get("if-none-match"))
    headers = {"ETag": polled.etag, "Cache-Control": "no-cache"}
    if polled.body is None:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(
        status_code=HTTPStatus.OK, content_type=content_types.APPLICATION_JSON, headers=headers, body=polled.body
    )
