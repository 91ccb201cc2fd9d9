"""The doors into the bucket, `POST /v1/batches` and `POST /v1/uploads` for signed addresses, which know no store."""

from __future__ import annotations

import base64
import binascii
import functools
import time
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response, content_types
from pydantic import BaseModel

from contracts.codec import BatchError, BatchInvalidError, BatchTooLargeError
from contracts.uploads import UploadAsked, UploadGranted
from functions.environment import Environment, read
from functions.http import HttpApi, ProblemError, answers, calling_agent
from functions.ingest.accept import ForeignBatchError, accept
from functions.ingest.bucket import Bucket, BucketUnavailableError, open_bucket
from functions.ingest.uploads import CannotSignError, grant

MEDIA_TYPE = "application/gzip"


class DoorEnvironment(Environment):
    bucket_url: str


class Accepted(BaseModel):
    """The batch is durable and will be loaded."""

    id: str
    key: str


@functools.cache
def _bucket() -> Bucket:
    return open_bucket(read(DoorEnvironment).bucket_url)


api = HttpApi()


@api.post(
    "/v1/batches",
    summary="Upload a batch",
    description="The body is a gzipped batch; its schema is batch.schema.json.",
    tags=["agents"],
    status_code=202,
    responses=answers(
        Accepted,
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        status=HTTPStatus.ACCEPTED,
    ),
    openapi_extensions={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def post_batch() -> Response[Accepted]:
    event = api.current_event
    if event.headers.get("content-type", "").split(";")[0].strip().lower() != MEDIA_TYPE:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: a batch is {MEDIA_TYPE}")
    try:
        key = accept(_body(), calling_agent(api), time.time_ns() // 1000, _bucket())
    except BatchTooLargeError as error:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
    except BatchInvalidError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except BatchError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, str(error)) from error
    except ForeignBatchError as error:
        raise ProblemError(HTTPStatus.FORBIDDEN, str(error)) from error
    except BucketUnavailableError as error:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "10"}) from error
    accepted = Accepted(id=key.id, key=str(key))
    return Response(status_code=202, content_type=content_types.APPLICATION_JSON, body=accepted)


def _body() -> bytes:
    event = api.current_event
    if not event.body:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is empty")
    if not event.is_base64_encoded:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not gzip")
    try:
        return base64.b64decode(event.body, validate=True)
    except binascii.Error as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not base64") from error


@api.post(
    "/v1/uploads",
    summary="Ask for an address to put a batch to",
    description="The address makes this one object, of just this content, until it expires: PUT it with the headers "
    "of the answer. 501: this server's bucket is a folder.",
    tags=["agents"],
    status_code=201,
    responses=answers(
        UploadGranted,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
        HTTPStatus.SERVICE_UNAVAILABLE,
        status=HTTPStatus.CREATED,
    ),
)
def post_upload(asked: UploadAsked) -> Response[UploadGranted]:
    try:
        granted = grant(asked, calling_agent(api), time.time_ns() // 1000, _bucket())
    except BatchTooLargeError as error:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
    except BatchInvalidError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except CannotSignError as error:
        raise ProblemError(HTTPStatus.NOT_IMPLEMENTED, str(error)) from error
    except BucketUnavailableError as error:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "10"}) from error
    headers = {"Cache-Control": "no-store"}
    return Response(status_code=201, content_type=content_types.APPLICATION_JSON, headers=headers, body=granted)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
