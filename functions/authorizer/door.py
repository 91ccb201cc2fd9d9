"""The door where agents and operators prove who they are: its routes stand in modules of their own, one each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response

from functions.authorizer import agents_routes, enrolment_routes, operators_routes
from functions.authorizer.parts import DoorEnvironment as DoorEnvironment
from functions.authorizer.private_file import CredentialsError
from functions.http import HttpApi, problem
from functions.pages import CursorError

logger = Logger(service="pganalytics")

api = HttpApi()
api.include_router(agents_routes.router)
api.include_router(enrolment_routes.router)
api.include_router(operators_routes.router)


def _answer_credentials(error: CredentialsError) -> Response[str]:
    logger.error(str(error))
    detail = "the server's keys cannot be used; its log says why"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "60"})


def _answer_cursor(error: CursorError) -> Response[str]:
    return problem(HTTPStatus.BAD_REQUEST, str(error))


api.exception_handler(CredentialsError)(_answer_credentials)
api.exception_handler(CursorError)(_answer_cursor)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return api.resolve(event, context)
